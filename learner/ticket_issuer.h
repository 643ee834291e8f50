#pragma once

#include "learner/actor_conduct.h"
#include "learner/fleet_status.h"
#include "learner/slot_plan.h"
#include "protocol/trajectory_log.h"

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace nabla {

struct IssuerOptions {
  double ticket_timeout_s = 60.0;
  std::int64_t max_attempts = 3;
  double max_discard_share = 0.05;

  static IssuerOptions from(const FleetConfig& fleet) {
    return {fleet.ticket_timeout_s, fleet.max_ticket_attempts, fleet.max_discard_share};
  }
};

enum class SlotState : std::uint8_t { kNotIssued, kOpen, kAccepted, kDiscarded };

// What a run that goes on knows of its slots.
struct IssuedBefore {
  std::int64_t trained_updates = 0;  // whose slots are all settled
  std::int64_t newest_version = -1;  // that was published
  std::vector<std::pair<std::int64_t, TicketKind>> accepted;
  std::vector<std::int64_t> discarded;  // slots
};

// Hands out tickets in (update, slot) order and follows them until every slot is accepted or discarded; where the plan relabels, each slot a second time,
// once its update's samples are settled and the update's own version is published. An actor holds one ticket at a time.
// Times are seconds of one monotonic clock, given by the caller. One thread at a time. `plan` must outlive it.
class TicketIssuer {
 public:
  TicketIssuer(const SlotPlan& plan, const IssuerOptions& options);

  struct Answer {
    std::optional<Ticket> ticket;
    std::string wait_reason;             // whom the asker waits for, when there is no ticket
    std::vector<DiscardEntry> discards;  // of a ticket that failed for the last time by this request
  };
  // Work for an actor: evaluations first, then relabel tickets, then tickets to be issued again, then the next of the plan if its version is published,
  // then a double of the update's last missing ticket when its holder takes over twice the usual time. An actor that asks while it holds a ticket gets
  // that ticket again: its answer was lost, or (when it had begun) the ticket failed.
  Answer next(const std::string& actor, std::int64_t published_version, double now);

  // Before anything is issued: what the log of a run that goes on says. Tickets that may have been handed out are open again.
  void restore(const IssuedBefore& before);

  // Queues an evaluation of a version in tickets of ticket_size pictures; returns the ids of its tickets.
  std::vector<std::uint64_t> request_evaluation(std::int64_t version, const std::vector<SlotOrder>& pictures);
  // The evaluation ticket of this id, if it is open.
  const Ticket* evaluation_ticket(std::uint64_t id) const;
  void finish_evaluation(std::uint64_t id, double now);

  // `kind`: of the slot's sample or of its relabelling.
  SlotState state_of(std::int64_t slot, TicketKind kind = TicketKind::kSample) const;
  // The open ticket that holds the slot; null if none.
  const Ticket* ticket_of(std::int64_t slot, TicketKind kind = TicketKind::kSample) const;
  bool holds(const std::string& actor, std::uint64_t ticket_id) const;
  void accept(std::int64_t slot, double now, TicketKind kind = TicketKind::kSample);
  // A slot that cannot be relabelled is discarded as a whole. `actor`: through whom, for people.
  void discard(std::int64_t slot, TicketKind kind = TicketKind::kSample, const std::string& actor = "");
  // Whether what this actor answers or fails may cost slots now; see ActorConduct.
  bool may_discard(const std::string& actor) const { return conduct_.failures_count(actor, discards_of(actor)); }
  // A record or evaluation of this actor was accepted.
  void note_delivery(const std::string& actor) { conduct_.delivered(actor); }

  // The ticket's holder has begun; it shows progress when steps_done changes.
  void heartbeat(const std::string& actor, std::uint64_t ticket_id, std::int64_t steps_done, double now);
  // The actor sent an answer to the ticket it holds; `fault`: why it was refused, or empty.
  void note_answer(const std::string& actor, const std::string& fault);
  // The holder gives the ticket back, is gone, or shows no progress for ticket_timeout: issued again, whole, or (after max_attempts of actors that
  // may_discard()) its missing slots are discarded and returned. Calls for tickets that the actor does not hold change nothing.
  std::vector<DiscardEntry> fail(const std::string& actor, std::uint64_t ticket_id, const std::string& reason, double now = 0);
  std::vector<DiscardEntry> remove_actor(const std::string& actor, const std::string& why);
  std::vector<DiscardEntry> expire(double now);

  std::int64_t issued_slots() const { return issued_slots_; }
  // Attempts at tickets that failed, for whatever reason.
  std::int64_t failed_attempts() const { return failed_attempts_; }
  // Slots whose samples are outstanding.
  std::int64_t open_slots() const;
  // Versions that must stay available: those of open tickets, and the exact one that the next ticket will name.
  std::set<std::int64_t> versions_needed() const;
  // Why the run cannot go on: more than max(2, share of the last 200) settled slots were discarded, or an evaluation failed for good.
  std::optional<std::string> problem() const;
  // In order of ids.
  std::vector<TicketStatus> open_tickets(double now) const;
  // Who holds what is missing of an update, for people.
  std::string describe(std::int64_t update, double now) const;

 private:
  struct Holder {
    std::string actor;
    double since = 0, progress_at = 0;
    std::int64_t steps_done = -1;
    bool begun = false;      // it was heard of since it got the ticket
    std::string fault = {};  // why its last answer was refused
  };
  struct OpenTicket {
    Ticket ticket;
    std::vector<Holder> holders;
    std::int64_t failures = 0;
    std::set<std::int64_t> missing;  // slots, or pictures of an evaluation
  };

  Ticket issue(OpenTicket& open, const std::string& actor, double now);
  OpenTicket* held_by(const std::string& actor);
  OpenTicket* unheld(std::int64_t published_version);
  OpenTicket* next_of_plan(std::int64_t published_version);
  OpenTicket* worth_doubling(const std::string& actor, double now);
  void open_relabels(std::int64_t published_version);
  bool may_be_issued(std::int64_t number, const IssuedBefore& before) const;
  void open_again(std::int64_t number);
  void set_state(std::int64_t slot, TicketKind kind, SlotState state);
  bool samples_settled(std::int64_t update) const;
  std::vector<DiscardEntry> drop_holder(OpenTicket& open, const std::string& actor, const std::string& reason);
  void settle(std::int64_t slot, SlotState state, TicketKind kind, const std::string& actor = "");
  std::int64_t discards_of(const std::string& actor) const;
  void close_if_done(std::uint64_t id, double now);
  std::string wait_reason(std::int64_t published_version) const;

  const SlotPlan& plan_;
  IssuerOptions options_;
  std::map<std::uint64_t, OpenTicket> open_;        // in order of ids: samples, relabels, evaluations
  std::vector<SlotState> states_, relabel_states_;  // by slot
  std::int64_t next_ticket_ = 0, issued_slots_ = 0, failed_attempts_ = 0;
  std::int64_t next_relabel_ = 0;  // update whose relabel tickets come next
  std::uint64_t num_evaluation_tickets_ = 0;
  struct Settled {
    bool discarded;
    std::string actor;  // through whom
  };
  ActorConduct conduct_;
  std::deque<Settled> settled_;                   // the last 200
  std::map<TicketKind, double> mean_duration_s_;  // of finished tickets, recent ones count more
  std::string evaluation_failure_;
};

}  // namespace nabla
