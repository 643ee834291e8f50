#pragma once

#include "common/config/run_config.h"
#include "common/prompt_source.h"
#include "learner/transition_choice.h"
#include "protocol/ticket.h"

#include <cstdint>
#include <vector>

namespace nabla {

// Ids: sample tickets count from 1, relabel tickets are this much above the sample ticket of their slots, evaluations from the last.
inline constexpr std::uint64_t kFirstRelabelTicket = 500'000'000'000;
inline constexpr std::uint64_t kFirstEvaluationTicket = 1'000'000'000'000;

// Which weights an update's trajectories are sampled, or relabelled, with.
struct VersionRule {
  std::int64_t version = 0;  // the lowest allowed, or the only one
  bool exact = false;
};

// What every slot of a run is made of: a pure function of the configuration and the prompts, the same for issuing, for checking live records
// and for checking replayed ones. Immutable, so free for all threads.
class SlotPlan {
 public:
  SlotPlan(const RunConfig& config, RunPrompts prompts);

  std::int64_t num_updates() const { return num_updates_; }
  std::int64_t slots_per_update() const { return slots_per_update_; }
  std::int64_t num_slots() const { return num_updates_ * slots_per_update_; }
  std::int64_t ticket_size() const { return ticket_size_; }
  std::int64_t rows() const { return rows_per_slot(choice_); }
  std::int64_t update_of(std::int64_t slot) const { return slot / slots_per_update_; }

  SlotOrder order_of(std::int64_t slot) const;
  // Sample tickets in (update, slot) order; ticket `number` holds ticket_size slots and has the id number + 1.
  std::int64_t num_tickets() const { return num_slots() / ticket_size_; }
  Ticket ticket(std::int64_t number) const;
  // Lockstep: exactly v(u) = max(0, k (floor(u/k) - d)), k = fleet.publish_every, d = fleet.lockstep_delay. Else at least u - max_policy_lag.
  VersionRule version_rule(std::int64_t update) const;

  // fleet.relabel_before_update: each update's records are recomputed with exactly its own version before it is trained, in tickets of the same slots.
  bool relabels() const { return relabels_; }
  Ticket relabel_ticket(std::int64_t number) const;
  // Sample or relabel ticket of a slot.
  std::uint64_t ticket_id_of(std::int64_t slot, TicketKind kind) const;

  // The pictures of every evaluation: eval.prompts prompts times eval.seeds noises, the noises of one prompt as neighbours.
  std::vector<SlotOrder> evaluation_pictures() const;
  std::int64_t evaluation_seeds() const { return evaluation_seeds_; }

 private:
  RunPrompts prompts_;
  TransitionChoice choice_;
  std::uint64_t seed_;
  std::int64_t num_updates_, slots_per_update_, ticket_size_;
  std::int64_t max_policy_lag_, publish_every_, lockstep_delay_;
  bool lockstep_, relabels_;
  std::int64_t evaluation_prompts_, evaluation_seeds_;
};

}  // namespace nabla
