#include "learner/update_statistics.h"

#include "common/spread.h"

#include <algorithm>

namespace nabla {

namespace {

std::vector<double> advantages_of(const std::vector<SlotFacts>& slots) {
  constexpr double kLeastDeviation = 1e-6;
  std::vector<double> rewards;
  std::map<std::string, std::vector<double>> by_prompt;
  for (const auto& slot : slots) {
    rewards.push_back(slot.reward);
    by_prompt[slot.prompt].push_back(slot.reward);
  }
  std::vector<double> advantages;
  for (const auto& slot : slots) {
    const auto& own = by_prompt[slot.prompt];
    const Spread moments = spread_of(own.size() > 1 ? own : rewards);
    advantages.push_back((slot.reward - moments.mean) / (moments.deviation + kLeastDeviation));
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

UpdateStatistics statistics_of(const std::vector<SlotFacts>& slots, double clip_percentile) {
  UpdateStatistics statistics;
  statistics.advantages = advantages_of(slots);
  if (clip_percentile == 0.0) return statistics;
  std::map<std::string, std::vector<double>> norms;
  for (const auto& slot : slots) {
    for (const auto& [name, rows] : slot.gradient_norms) norms[name].insert(norms[name].end(), rows.begin(), rows.end());
  }
  for (auto& [name, all] : norms) statistics.norm_limits[name] = percentile(std::move(all), clip_percentile);
  return statistics;
}

}  // namespace nabla
