#include "learner/saved_trajectories.h"

#include "common/error.h"

#include <algorithm>
#include <map>

namespace nabla {

namespace {

std::optional<std::string> find_transition_fault(const RecordHeader& header, const RecordRules& rules) {
  if (header.step_table_id != rules.step_table_id)
    return fmt::format("its step table is '{}', expected is '{}'", header.step_table_id, rules.step_table_id);
  for (const auto& row : header.transitions) {
    const bool known = row.step < static_cast<std::int32_t>(rules.steps.size());
    const TransitionRef expected = known ? rules.steps[static_cast<std::size_t>(row.step)] : TransitionRef{};
    if (!known || row.timestep != expected.timestep || row.next_timestep != expected.next_timestep)
      return fmt::format("step {} ({} to {}) is none of the step table", row.step, row.timestep, row.next_timestep);
  }
  return std::nullopt;
}

std::optional<std::string> find_token_fault(const RecordHeader& header, const RecordRules& rules) {
  if (static_cast<std::int64_t>(header.token_ids.size()) != rules.tokens)
    return fmt::format("it has {} tokens; the text encoder takes {}", header.token_ids.size(), rules.tokens);
  for (const auto token : header.token_ids) {
    if (token >= rules.vocabulary) return fmt::format("token {} is outside the vocabulary of {}", token, rules.vocabulary);
  }
  return std::nullopt;
}

// Tensors that this run does not need do no harm.
std::optional<std::string> find_tensor_fault(const RecordHeader& header, const RecordRules& rules) {
  if (header.gradient_kind != rules.needs.gradient_kind)
    return fmt::format("its gradient kind is '{}'; expected is '{}'", header.gradient_kind, rules.needs.gradient_kind);
  const auto rows = static_cast<std::int64_t>(header.transitions.size());
  for (const auto& name : tensor_names(rules.needs)) {
    std::vector<std::int64_t> shape{rows_of_tensor(name, rules.needs, rows)};
    shape.insert(shape.end(), rules.latent_shape.begin(), rules.latent_shape.end());
    const TensorEntry* entry = find_tensor(header.tensors, name);
    if (entry == nullptr) return fmt::format("it has no tensor '{}'", name);
    if (entry->shape != shape || entry->dtype != DType::kF32)
      return fmt::format("its tensor '{}' has another shape or type than expected", name);
  }
  return std::nullopt;
}

class TrajectoryTaker {
 public:
  explicit TrajectoryTaker(const RecordRules& rules) : rules_(rules) {}

  void take(const EncodedRecord& encoded) {
    DecodeResult decoded = decode_record(encoded, rules_.limits);
    const RecordHeader& header = decoded.record.header;
    if (decoded.reject == Reject::kNone && header.kind == TicketKind::kRelabel) return;
    std::optional<std::string> fault;
    if (decoded.reject != Reject::kNone) fault = decoded.reason;
    if (!fault && header.run_id != rules_.run_id) fault = fmt::format("it is of run {}, its log of run {}", header.run_id, rules_.run_id);
    if (!fault) fault = find_transition_fault(header, rules_);
    if (!fault) fault = find_token_fault(header, rules_);
    if (!fault) fault = find_tensor_fault(header, rules_);
    if (fault) throw data_error("[log] the record of slot {} cannot be used: {}", header.slot, *fault);
    records_.emplace(header.slot, std::move(decoded.record));
  }
  void take(const DiscardEntry& entry) { records_.erase(entry.slot); }
  void take(const LogHeader&) { throw data_error("[log] a second log header stands inside the log"); }
  void take(const PublishEntry&) {}
  void take(const TrainedEntry&) {}

  std::vector<SharedRecord> in_slot_order() {
    std::vector<SharedRecord> records;
    for (auto& [slot, record] : records_) records.push_back(std::make_shared<TrajectoryRecord>(std::move(record)));
    return records;
  }

 private:
  const RecordRules& rules_;
  std::map<std::int64_t, TrajectoryRecord> records_;  // by slot
};

}  // namespace

LogHeader log_header_in(const std::optional<LogEntry>& first, const std::string& folder) {
  const auto* header = first ? std::get_if<LogHeader>(&*first) : nullptr;
  if (header == nullptr) throw data_error("[log] {} does not begin with a log header; is it a trajectory log?", folder);
  return *header;
}

std::vector<SharedRecord> read_trajectories(TrajectoryLogReader& reader, const RecordRules& rules) {
  TrajectoryTaker taker(rules);
  for (auto entry = reader.next(); entry; entry = reader.next()) std::visit([&](const auto& known) { taker.take(known); }, *entry);
  return taker.in_slot_order();
}

std::vector<SharedRecord> numbered_anew(const std::vector<SharedRecord>& records, std::int64_t slots_per_update) {
  std::vector<SharedRecord> numbered;
  for (const auto& record : records) {
    auto copy = std::make_shared<TrajectoryRecord>(*record);
    copy->header.slot = std::ssize(numbered);
    copy->header.update = copy->header.version = copy->header.slot / slots_per_update;
    numbered.push_back(std::move(copy));
  }
  return numbered;
}

}  // namespace nabla
