#include "learner/slot_facts.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstring>
#include <iterator>

namespace nabla {

namespace {

// Norms of the rows of one float32 tensor; none where the record does not have it.
std::vector<double> row_norms(const TrajectoryRecord& record, const std::string& name) {
  std::vector<double> norms;
  const TensorEntry* entry = record.find(name);
  if (entry == nullptr || entry->shape.empty()) return norms;
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
  return norms;
}

std::string bytes_of(const std::vector<SlotFacts>& facts) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& slot : facts) list.push_back({slot.slot, slot.rows, slot.policy_lag, slot.reward, slot.prompt, slot.gradient_norms});
  std::string bytes;
  nlohmann::json::to_cbor(list, bytes);
  return bytes;
}

std::vector<SlotFacts> facts_from(const std::string& bytes) {
  std::vector<SlotFacts> facts;
  for (const auto& entry : nlohmann::json::from_cbor(bytes)) {
    SlotFacts& slot = facts.emplace_back();
    entry.at(0).get_to(slot.slot);
    entry.at(1).get_to(slot.rows);
    entry.at(2).get_to(slot.policy_lag);
    entry.at(3).get_to(slot.reward);
    entry.at(4).get_to(slot.prompt);
    entry.at(5).get_to(slot.gradient_norms);
  }
  return facts;
}

}  // namespace

std::vector<SlotFacts> facts_of(const UpdateRecords& update, const RecordNeeds& needs, GradientNorms norms) {
  std::vector<SlotFacts> facts;
  for (const auto& record : update.records) {
    const RecordHeader& header = record->header;
    SlotFacts& slot = facts.emplace_back();
    slot.slot = header.slot;
    slot.rows = std::ssize(header.transitions);
    slot.policy_lag = policy_lag(update, *record);
    slot.reward = header.reward;
    slot.prompt = header.prompt;
    if (norms == GradientNorms::kNone) continue;
    for (const auto& name : tensor_names(needs)) {
      if (name.find("reward_grad") == std::string::npos) continue;
      if (auto rows = row_norms(*record, name); !rows.empty()) slot.gradient_norms[name] = std::move(rows);
    }
  }
  return facts;
}

std::vector<SlotFacts> gather(ProcessGroup& group, std::vector<SlotFacts> own) {
  if (group.size() == 1) return own;
  std::vector<SlotFacts> all;
  for (const auto& bytes : group.all_gather(bytes_of(own))) {
    auto facts = facts_from(bytes);
    all.insert(all.end(), std::make_move_iterator(facts.begin()), std::make_move_iterator(facts.end()));
  }
  return all;
}

UpdateRecords share_of(const UpdateRecords& update, std::int64_t slots_per_update, const ProcessGroup& group) {
  const std::int64_t start = update.update * slots_per_update;
  const std::int64_t first = start + slots_per_update * group.rank() / group.size(),
                     end = start + slots_per_update * (group.rank() + 1) / group.size();
  UpdateRecords share{.update = update.update, .records = {}};
  for (const auto& record : update.records)
    if (record->header.slot >= first && record->header.slot < end) share.records.push_back(record);
  return share;
}

}  // namespace nabla
