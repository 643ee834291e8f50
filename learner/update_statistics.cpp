#include "learner/update_statistics.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace nabla {

namespace {

// Norms of the rows of one float32 tensor, appended.
void add_row_norms(const TrajectoryRecord& record, const std::string& name, std::vector<double>& norms) {
  const TensorEntry* entry = record.find(name);
  if (entry == nullptr || entry->shape.empty()) return;
  const auto bytes = record.bytes(*entry);
  const auto rows = static_cast<std::size_t>(entry->shape.front());
  const std::size_t row_bytes = bytes.size() / rows;
  for (std::size_t row = 0; row < rows; ++row) {
    double squares = 0.0;
    for (std::size_t at = row * row_bytes; at < (row + 1) * row_bytes; at += sizeof(float)) {
      float value = 0.0F;
      std::memcpy(&value, bytes.data() + at, sizeof(float));
      squares += static_cast<double>(value) * static_cast<double>(value);
    }
    norms.push_back(std::sqrt(squares));
  }
}

std::vector<double> advantages_of(const std::vector<SharedRecord>& records) {
  constexpr double kLeastDeviation = 1e-6;
  std::vector<double> rewards;
  std::map<std::string, std::vector<double>> by_prompt;
  for (const auto& record : records) {
    rewards.push_back(record->header.reward);
    by_prompt[record->header.prompt].push_back(record->header.reward);
  }
  std::vector<double> advantages;
  for (const auto& record : records) {
    const auto& own = by_prompt[record->header.prompt];
    const Spread moments = spread_of(own.size() > 1 ? own : rewards);
    advantages.push_back((record->header.reward - moments.mean) / (moments.deviation + kLeastDeviation));
  }
  return advantages;
}

}  // namespace

double percentile(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const double place = percent / 100.0 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

UpdateStatistics statistics_of(const std::vector<SharedRecord>& records, const RecordNeeds& needs, double clip_percentile) {
  UpdateStatistics statistics;
  statistics.advantages = advantages_of(records);
  if (clip_percentile == 0.0) return statistics;
  for (const auto& name : tensor_names(needs)) {
    if (name.find("reward_grad") == std::string::npos) continue;
    std::vector<double> norms;
    for (const auto& record : records) add_row_norms(*record, name, norms);
    if (!norms.empty()) statistics.norm_limits[name] = percentile(std::move(norms), clip_percentile);
  }
  return statistics;
}

}  // namespace nabla
