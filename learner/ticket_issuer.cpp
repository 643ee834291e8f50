#include "learner/ticket_issuer.h"

#include "common/error.h"

#include <algorithm>

namespace nabla {

namespace {

// Sample tickets count from 1, evaluation tickets from here.
constexpr std::uint64_t kFirstEvaluation = 1'000'000'000'000;
constexpr std::size_t kDiscardWindow = 200;
constexpr double kAllowedDiscards = 2.0;
constexpr double kDoublingFactor = 2.0;
constexpr double kDurationMemory = 0.8;

bool is_evaluation(std::uint64_t ticket_id) { return ticket_id >= kFirstEvaluation; }

}  // namespace

TicketIssuer::TicketIssuer(const SlotPlan& plan, const IssuerOptions& options)
    : plan_(plan), options_(options), states_(static_cast<std::size_t>(plan.num_slots()), SlotState::kNotIssued) {}

TicketIssuer::Answer TicketIssuer::next(const std::string& actor, std::int64_t published_version, double now) {
  Answer answer;
  if (OpenTicket* held = held_by(actor)) {
    const auto holder = std::find_if(held->holders.begin(), held->holders.end(), [&](const Holder& h) { return h.actor == actor; });
    if (!holder->begun) {
      answer.ticket = held->ticket;
      answer.ticket->attempt = static_cast<std::int32_t>(held->failures) + 1;
      return answer;
    }
    const std::string fault = holder->fault.empty() ? "it asked for other work before all was accepted" : holder->fault;
    answer.discards = drop_holder(*held, actor, fmt::format("{}: {}", actor, fault));
  }
  OpenTicket* open = unheld(published_version);
  if (open == nullptr) open = next_of_plan(published_version);
  if (open == nullptr) open = worth_doubling(actor, now);
  if (open == nullptr) {
    answer.wait_reason = wait_reason(published_version);
    return answer;
  }
  answer.ticket = issue(*open, actor, now);
  return answer;
}

Ticket TicketIssuer::issue(OpenTicket& open, const std::string& actor, double now) {
  open.holders.push_back({.actor = actor, .since = now, .progress_at = now});
  Ticket ticket = open.ticket;
  ticket.attempt = static_cast<std::int32_t>(open.failures) + 1;
  return ticket;
}

TicketIssuer::OpenTicket* TicketIssuer::held_by(const std::string& actor) {
  for (auto& [id, open] : open_) {
    for (const auto& holder : open.holders) {
      if (holder.actor == actor) return &open;
    }
  }
  return nullptr;
}

// Evaluations first; both kinds in order of their ids.
TicketIssuer::OpenTicket* TicketIssuer::unheld(std::int64_t published_version) {
  const auto waits = [&](const OpenTicket& open) { return open.holders.empty() && open.ticket.version <= published_version; };
  for (auto it = open_.lower_bound(kFirstEvaluation); it != open_.end(); ++it) {
    if (waits(it->second)) return &it->second;
  }
  for (auto& [id, open] : open_) {
    if (waits(open)) return &open;
  }
  return nullptr;
}

TicketIssuer::OpenTicket* TicketIssuer::next_of_plan(std::int64_t published_version) {
  if (next_ticket_ == plan_.num_tickets()) return nullptr;
  const std::int64_t update = plan_.update_of(next_ticket_ * plan_.ticket_size());
  if (plan_.version_rule(update).version > published_version) return nullptr;
  OpenTicket open{.ticket = plan_.ticket(next_ticket_++), .holders = {}, .failures = 0, .missing = {}};
  for (const auto& order : open.ticket.slots) {
    open.missing.insert(order.slot);
    states_[static_cast<std::size_t>(order.slot)] = SlotState::kOpen;
  }
  issued_slots_ += static_cast<std::int64_t>(open.ticket.slots.size());
  return &open_.emplace(open.ticket.id, std::move(open)).first->second;
}

// The only open ticket of the oldest unfinished update, when one other actor has it for much longer than tickets take.
TicketIssuer::OpenTicket* TicketIssuer::worth_doubling(const std::string& actor, double now) {
  if (open_.empty() || is_evaluation(open_.begin()->first) || mean_duration_s_ <= 0) return nullptr;
  OpenTicket& oldest = open_.begin()->second;
  const auto second = std::next(open_.begin());
  const bool last_of_update = second == open_.end() || is_evaluation(second->first) || second->second.ticket.update != oldest.ticket.update;
  if (!last_of_update || oldest.holders.size() != 1 || oldest.holders.front().actor == actor) return nullptr;
  return now - oldest.holders.front().since > kDoublingFactor * mean_duration_s_ ? &oldest : nullptr;
}

std::vector<std::uint64_t> TicketIssuer::request_evaluation(std::int64_t version, const std::vector<SlotOrder>& pictures) {
  std::vector<std::uint64_t> ids;
  const auto chunk = static_cast<std::size_t>(plan_.ticket_size());
  for (std::size_t first = 0; first < pictures.size(); first += chunk) {
    OpenTicket open;
    open.ticket.id = kFirstEvaluation + num_evaluation_tickets_++;
    open.ticket.kind = TicketKind::kEvaluate;
    open.ticket.update = version;
    open.ticket.version = version;
    open.ticket.exact_version = true;
    for (std::size_t i = first; i < std::min(first + chunk, pictures.size()); ++i) {
      open.ticket.slots.push_back(pictures[i]);
      open.missing.insert(pictures[i].slot);
    }
    ids.push_back(open.ticket.id);
    open_.emplace(open.ticket.id, std::move(open));
  }
  return ids;
}

const Ticket* TicketIssuer::evaluation_ticket(std::uint64_t id) const {
  const auto found = is_evaluation(id) ? open_.find(id) : open_.end();
  return found == open_.end() ? nullptr : &found->second.ticket;
}

void TicketIssuer::finish_evaluation(std::uint64_t id, double now) {
  const auto found = open_.find(id);
  if (found == open_.end()) return;
  found->second.missing.clear();
  close_if_done(id, now);
}

SlotState TicketIssuer::state_of(std::int64_t slot) const {
  if (slot < 0 || slot >= plan_.num_slots()) return SlotState::kNotIssued;
  return states_[static_cast<std::size_t>(slot)];
}

const Ticket* TicketIssuer::ticket_of(std::int64_t slot) const {
  const auto found = open_.find(static_cast<std::uint64_t>(slot / plan_.ticket_size()) + 1);
  return found == open_.end() ? nullptr : &found->second.ticket;
}

bool TicketIssuer::holds(const std::string& actor, std::uint64_t ticket_id) const {
  const auto found = open_.find(ticket_id);
  if (found == open_.end()) return false;
  const auto& holders = found->second.holders;
  return std::any_of(holders.begin(), holders.end(), [&](const Holder& holder) { return holder.actor == actor; });
}

void TicketIssuer::accept(std::int64_t slot, double now) {
  settle(slot, SlotState::kAccepted);
  const auto id = static_cast<std::uint64_t>(slot / plan_.ticket_size()) + 1;
  for (auto& holder : open_.at(id).holders) holder.progress_at = now;
  close_if_done(id, now);
}

void TicketIssuer::discard(std::int64_t slot) {
  settle(slot, SlotState::kDiscarded);
  const auto id = static_cast<std::uint64_t>(slot / plan_.ticket_size()) + 1;
  const auto found = open_.find(id);
  if (found != open_.end() && found->second.missing.empty()) open_.erase(found);
}

void TicketIssuer::settle(std::int64_t slot, SlotState state) {
  if (state_of(slot) != SlotState::kOpen) throw failure("[issuer] slot {} is settled twice, or was never issued", slot);
  states_[static_cast<std::size_t>(slot)] = state;
  open_.at(static_cast<std::uint64_t>(slot / plan_.ticket_size()) + 1).missing.erase(slot);
  settled_.push_back(state == SlotState::kDiscarded);
  if (settled_.size() > kDiscardWindow) settled_.pop_front();
}

void TicketIssuer::close_if_done(std::uint64_t id, double now) {
  const auto found = open_.find(id);
  if (found == open_.end() || !found->second.missing.empty()) return;
  if (!is_evaluation(id) && !found->second.holders.empty()) {
    const double duration = now - found->second.holders.front().since;
    mean_duration_s_ = mean_duration_s_ > 0 ? kDurationMemory * mean_duration_s_ + (1 - kDurationMemory) * duration : duration;
  }
  open_.erase(found);
}

void TicketIssuer::heartbeat(const std::string& actor, std::uint64_t ticket_id, std::int64_t steps_done, double now) {
  const auto found = open_.find(ticket_id);
  if (found == open_.end()) return;
  for (auto& holder : found->second.holders) {
    if (holder.actor != actor) continue;
    holder.begun = true;
    if (holder.steps_done == steps_done) continue;
    holder.steps_done = steps_done;
    holder.progress_at = now;
  }
}

void TicketIssuer::note_answer(const std::string& actor, const std::string& fault) {
  OpenTicket* held = held_by(actor);
  if (held == nullptr) return;
  for (auto& holder : held->holders) {
    if (holder.actor != actor) continue;
    holder.begun = true;
    if (!fault.empty()) holder.fault = fault;
  }
}

std::vector<DiscardEntry> TicketIssuer::fail(const std::string& actor, std::uint64_t ticket_id, const std::string& reason) {
  if (!holds(actor, ticket_id)) return {};
  return drop_holder(open_.at(ticket_id), actor, reason);
}

std::vector<DiscardEntry> TicketIssuer::remove_actor(const std::string& actor, const std::string& why) {
  OpenTicket* held = held_by(actor);
  if (held == nullptr) return {};
  return drop_holder(*held, actor, why);
}

std::vector<DiscardEntry> TicketIssuer::expire(double now) {
  std::vector<std::pair<std::uint64_t, std::string>> late;
  for (const auto& [id, open] : open_) {
    for (const auto& holder : open.holders) {
      if (now - holder.progress_at > options_.ticket_timeout_s) late.emplace_back(id, holder.actor);
    }
  }
  std::vector<DiscardEntry> discards;
  for (const auto& [id, actor] : late) {
    const auto more =
        fail(actor, id, fmt::format("{} showed no progress for {} s (fleet.ticket_timeout)", actor, options_.ticket_timeout_s));
    discards.insert(discards.end(), more.begin(), more.end());
  }
  return discards;
}

// `open` may be gone afterwards.
std::vector<DiscardEntry> TicketIssuer::drop_holder(OpenTicket& open, const std::string& actor, const std::string& reason) {
  std::erase_if(open.holders, [&](const Holder& holder) { return holder.actor == actor; });
  ++open.failures;
  if (!open.holders.empty() || open.failures < options_.max_attempts) return {};
  const std::uint64_t id = open.ticket.id;
  if (is_evaluation(id)) {
    evaluation_failure_ = fmt::format("the evaluation of version {} failed {} times; last: {}", open.ticket.version, open.failures, reason);
    return {};
  }
  std::vector<DiscardEntry> discards;
  const std::set<std::int64_t> missing = open.missing;
  for (const auto slot : missing) {
    discards.push_back({slot, open.ticket.update, fmt::format("attempts: ticket {} failed {} times; last: {}", id, open.failures, reason)});
  }
  for (const auto slot : missing) discard(slot);
  return discards;
}

std::int64_t TicketIssuer::open_slots() const {
  std::int64_t count = 0;
  for (const auto& [id, open] : open_) {
    if (!is_evaluation(id)) count += static_cast<std::int64_t>(open.missing.size());
  }
  return count;
}

std::set<std::int64_t> TicketIssuer::versions_needed() const {
  std::set<std::int64_t> versions;
  for (const auto& [id, open] : open_) versions.insert(open.ticket.version);
  if (next_ticket_ < plan_.num_tickets()) {
    const VersionRule rule = plan_.version_rule(plan_.update_of(next_ticket_ * plan_.ticket_size()));
    if (rule.exact) versions.insert(rule.version);
  }
  return versions;
}

std::optional<std::string> TicketIssuer::problem() const {
  if (!evaluation_failure_.empty()) return evaluation_failure_;
  const auto discarded = static_cast<double>(std::count(settled_.begin(), settled_.end(), true));
  const double limit = std::max(kAllowedDiscards, options_.max_discard_share * static_cast<double>(settled_.size()));
  if (discarded <= limit) return std::nullopt;
  return fmt::format("{} of the last {} slots were discarded; more than {:.0f} are not trained without (fleet.max_discard_share {})",
                     discarded, settled_.size(), limit, options_.max_discard_share);
}

std::string TicketIssuer::wait_reason(std::int64_t published_version) const {
  if (next_ticket_ < plan_.num_tickets()) {
    const std::int64_t update = plan_.update_of(next_ticket_ * plan_.ticket_size());
    return fmt::format("update {} is sampled with version {}; the learner has published {}", update, plan_.version_rule(update).version,
                       published_version);
  }
  return open_.empty() ? "all work is done; the learner finishes" : "all work is handed out";
}

std::string TicketIssuer::describe(std::int64_t update, double now) const {
  std::string held, unclaimed;
  std::size_t missing = 0;
  for (const auto& [id, open] : open_) {
    if (is_evaluation(id) || open.ticket.update != update) continue;
    missing += open.missing.size();
    if (open.holders.empty()) unclaimed += fmt::format("{}{}", unclaimed.empty() ? "" : ", ", id);
    for (const auto& holder : open.holders) {
      held += fmt::format("{}{} (ticket {} for {:.0f} s)", held.empty() ? "" : ", ", holder.actor, id, now - holder.since);
    }
  }
  if (missing == 0 && !open_.empty() && is_evaluation(open_.rbegin()->first)) {
    return fmt::format("update {}: the evaluation of version {} comes first", update, open_.lower_bound(kFirstEvaluation)->second.ticket.version);
  }
  std::string text = fmt::format("update {}: {} slots outstanding", update, missing);
  if (!held.empty()) text += "; waiting for " + held;
  if (!unclaimed.empty()) text += "; no actor has ticket " + unclaimed;
  return text;
}

}  // namespace nabla
