#include "learner/slot_plan.h"

#include <algorithm>

namespace nabla {

namespace {

// Evaluations see the same noise in every run, whatever its seed, so that runs can be compared picture by picture.
constexpr std::uint64_t kEvaluationSeed = 0;

}  // namespace

SlotPlan::SlotPlan(const RunConfig& config, RunPrompts prompts)
    : prompts_(std::move(prompts)),
      choice_(transition_choice_of(config)),
      seed_(config.seed),
      num_updates_(config.training.updates),
      slots_per_update_(config.slots_per_update()),
      ticket_size_(config.fleet.ticket_size),
      max_policy_lag_(config.fleet.max_policy_lag),
      publish_every_(config.fleet.publish_every),
      lockstep_delay_(config.fleet.lockstep_delay),
      lockstep_(config.fleet.lockstep),
      relabels_(config.fleet.relabel_before_update),
      evaluation_prompts_(config.eval.prompts),
      evaluation_seeds_(config.eval.seeds) {}

SlotOrder SlotPlan::order_of(std::int64_t slot) const {
  const Prompt prompt = prompts_.training.draw(seed_, slot);
  return {slot, prompt.index, prompt.text, seed_, choose_transitions(choice_, seed_, slot)};
}

VersionRule SlotPlan::version_rule(std::int64_t update) const {
  if (!lockstep_) return {std::max<std::int64_t>(0, update - max_policy_lag_), false};
  return {std::max<std::int64_t>(0, publish_every_ * (update / publish_every_ - lockstep_delay_)), true};
}

Ticket SlotPlan::ticket(std::int64_t number) const {
  Ticket ticket;
  ticket.id = static_cast<std::uint64_t>(number) + 1;
  const std::int64_t first = number * ticket_size_;
  ticket.update = update_of(first);
  const VersionRule rule = version_rule(ticket.update);
  ticket.version = rule.version;
  ticket.exact_version = rule.exact;
  for (std::int64_t i = 0; i < ticket_size_; ++i) ticket.slots.push_back(order_of(first + i));
  return ticket;
}

Ticket SlotPlan::relabel_ticket(std::int64_t number) const {
  Ticket relabel = ticket(number);
  relabel.id += kFirstRelabelTicket;
  relabel.kind = TicketKind::kRelabel;
  relabel.version = relabel.update;
  relabel.exact_version = true;
  return relabel;
}

std::uint64_t SlotPlan::ticket_id_of(std::int64_t slot, TicketKind kind) const {
  const auto sample = static_cast<std::uint64_t>(slot / ticket_size_) + 1;
  return kind == TicketKind::kRelabel ? kFirstRelabelTicket + sample : sample;
}

std::vector<SlotOrder> SlotPlan::evaluation_pictures() const {
  std::vector<SlotOrder> pictures;
  for (std::int64_t index = 0; index < evaluation_prompts_; ++index) {
    const Prompt prompt = prompts_.evaluation.at(index);
    for (std::int64_t noise = 0; noise < evaluation_seeds_; ++noise) {
      pictures.push_back({static_cast<std::int64_t>(pictures.size()), prompt.index, prompt.text, kEvaluationSeed, {}});
    }
  }
  return pictures;
}

}  // namespace nabla
