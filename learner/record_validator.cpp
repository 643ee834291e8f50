#include "learner/record_validator.h"

#include "common/config/relabel_needs.h"
#include "common/failpoint.h"
#include "common/nearest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace nabla {

namespace {

struct Fault {
  Reject reject;
  std::string reason;
};

template <class... Args>
std::optional<Fault> fault(Reject reject, fmt::format_string<Args...> format, Args&&... args) {
  return Fault{reject, fmt::format(format, std::forward<Args>(args)...)};
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const auto size : shape) text += fmt::format("{}{}", text.empty() ? "" : ", ", size);
  return "[" + text + "]";
}

std::optional<Fault> check_identity(const RecordHeader& header, const RecordRules& rules, const SlotPlan& plan) {
  if (header.run_id != rules.run_id) return fault(Reject::kUnknownRun, "run id is '{}'; this run is '{}'", header.run_id, rules.run_id);
  if (header.kind != TicketKind::kSample && !plan.relabels())
    return fault(Reject::kBadHeader, "kind is {}; only samples are trained on", static_cast<int>(header.kind));
  if (header.slot < 0 || header.slot >= plan.num_slots()) {
    return fault(Reject::kUnknownSlot, "slot {} is not one of the run's {} slots", header.slot, plan.num_slots());
  }
  if (header.update != plan.update_of(header.slot)) {
    return fault(Reject::kUnknownSlot, "slot {} belongs to update {}, not {}", header.slot, plan.update_of(header.slot), header.update);
  }
  const std::uint64_t expected_ticket = plan.ticket_id_of(header.slot, header.kind);
  if (header.ticket_id != expected_ticket) {
    return fault(Reject::kUnknownTicket, "slot {} belongs to ticket {}, not {}", header.slot, expected_ticket, header.ticket_id);
  }
  return std::nullopt;
}

std::optional<Fault> check_weights(const RecordHeader& header, const SlotPlan& plan, const VersionJournal& journal) {
  const bool relabel = header.kind == TicketKind::kRelabel;
  const VersionRule rule = relabel ? VersionRule{header.update, true} : plan.version_rule(header.update);
  if (rule.exact ? header.version != rule.version : header.version < rule.version) {
    return fault(Reject::kUnknownVersion, "slot {} was {} with version {}; its ticket asks for {} {}", header.slot,
                 relabel ? "relabelled" : "sampled", header.version, rule.exact ? "exactly" : "at least", rule.version);
  }
  const auto digest = journal.digest_of(header.version);
  if (!digest) return fault(Reject::kUnknownVersion, "version {} was never published", header.version);
  if (header.digest != *digest && !seeded_bug("validator.skip_digest")) {
    return fault(Reject::kBadDigest, "the weights of the record of slot {} have digest {}; version {} was published as {}", header.slot,
                 header.digest, header.version, *digest);
  }
  return std::nullopt;
}

std::optional<Fault> check_transitions(const RecordHeader& header, const SlotOrder& order, const RecordRules& rules) {
  if (header.step_table_id != rules.step_table_id) {
    return fault(Reject::kBadTransitions, "step table is '{}'; this run samples with '{}'", header.step_table_id, rules.step_table_id);
  }
  if (header.transitions.size() != order.transitions.size()) {
    return fault(Reject::kBadTransitions, "slot {} has {} transitions; its ticket chose {}", header.slot, header.transitions.size(),
                 order.transitions.size());
  }
  for (std::size_t row = 0; row < order.transitions.size(); ++row) {
    const TransitionRef& sent = header.transitions[row];
    const TransitionRef& chosen = rules.steps[static_cast<std::size_t>(order.transitions[row])];
    if (sent.step == chosen.step && sent.timestep == chosen.timestep && sent.next_timestep == chosen.next_timestep) continue;
    return fault(Reject::kBadTransitions, "row {} of slot {} is step {} ({} to {}); its ticket chose step {} ({} to {})", row, header.slot,
                 sent.step, sent.timestep, sent.next_timestep, chosen.step, chosen.timestep, chosen.next_timestep);
  }
  return std::nullopt;
}

std::optional<Fault> check_prompt(const RecordHeader& header, const SlotOrder& order, const RecordRules& rules) {
  if (header.seed != order.seed || header.prompt_index != order.prompt_index || header.prompt != order.prompt) {
    return fault(Reject::kBadHeader, "slot {} is of prompt {} '{}' and seed {}; its ticket names prompt {} '{}' and seed {}", header.slot,
                 header.prompt_index, header.prompt, header.seed, order.prompt_index, order.prompt, order.seed);
  }
  if (static_cast<std::int64_t>(header.token_ids.size()) != rules.tokens) {
    return fault(Reject::kBadHeader, "slot {} has {} tokens; the text encoder takes {}", header.slot, header.token_ids.size(),
                 rules.tokens);
  }
  for (const auto token : header.token_ids) {
    if (token < 0 || token >= rules.vocabulary) {
      return fault(Reject::kBadHeader, "token {} of slot {} is outside the vocabulary of {}", token, header.slot, rules.vocabulary);
    }
  }
  if (header.gradient_kind != rules.needs.gradient_kind) {
    return fault(Reject::kBadHeader, "gradient kind is '{}'; this run trains on '{}'", header.gradient_kind, rules.needs.gradient_kind);
  }
  if (!std::isfinite(header.reward)) return fault(Reject::kNonFinite, "the reward of slot {} is not finite", header.slot);
  return std::nullopt;
}

std::optional<Fault> check_tensors(const RecordHeader& header, const RecordRules& rules, std::int64_t rows) {
  const auto names = header.kind == TicketKind::kRelabel ? policy_dependent_tensors(rules.needs) : tensor_names(rules.needs);
  for (const auto& entry : header.tensors) {
    if (std::find(names.begin(), names.end(), entry.name) == names.end()) {
      return fault(Reject::kBadTensor, "tensor '{}' does not belong to a record of this run, whose tensors are {}", entry.name,
                   comma_list(names));
    }
    std::vector<std::int64_t> shape{rows_of_tensor(entry.name, rules.needs, rows)};
    shape.insert(shape.end(), rules.latent_shape.begin(), rules.latent_shape.end());
    if (entry.shape != shape)
      return fault(Reject::kBadTensor, "tensor '{}' has shape {}; {} is expected", entry.name, shape_text(entry.shape), shape_text(shape));
    if (entry.dtype != DType::kF32)
      return fault(Reject::kBadTensor, "tensor '{}' is {}; F32 is expected", entry.name, name_of(entry.dtype));
  }
  for (const auto& name : names) {
    const auto count =
        std::count_if(header.tensors.begin(), header.tensors.end(), [&](const TensorEntry& entry) { return entry.name == name; });
    if (count != 1) return fault(Reject::kBadTensor, "tensor '{}' is there {} times; once is expected", name, count);
  }
  return std::nullopt;
}

std::optional<Fault> check(const RecordHeader& header, const RecordRules& rules, const SlotPlan& plan, const VersionJournal& journal) {
  if (auto found = check_identity(header, rules, plan)) return found;
  const SlotOrder order = plan.order_of(header.slot);
  if (auto found = check_weights(header, plan, journal)) return found;
  if (auto found = check_prompt(header, order, rules)) return found;
  if (auto found = check_transitions(header, order, rules)) return found;
  return check_tensors(header, rules, plan.rows());
}

}  // namespace

RecordValidator::RecordValidator(RecordRules rules, const SlotPlan& plan, const VersionJournal& journal)
    : rules_(std::move(rules)), plan_(plan), journal_(journal) {}

Verdict RecordValidator::validate(const EncodedRecord& encoded) const {
  DecodeResult decoded = decode_record(encoded, rules_.limits);
  Verdict verdict{decoded.reject, std::move(decoded.reason), nullptr};
  if (verdict.reject == Reject::kNonFinite) {
    // Whose slot it is, is still wanted; everything but the values was found in order.
    RecordLimits limits = rules_.limits;
    limits.check_crc = limits.check_finite = false;
    decoded = decode_record(encoded, limits);
  }
  verdict.record = std::make_shared<TrajectoryRecord>(std::move(decoded.record));
  if (verdict.reject != Reject::kNone) return verdict;
  if (auto found = check(verdict.record->header, rules_, plan_, journal_)) {
    verdict.reject = found->reject;
    verdict.reason = std::move(found->reason);
  }
  return verdict;
}

}  // namespace nabla
