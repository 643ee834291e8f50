#include "learner/ticket_issuer.h"

#include "common/error.h"

#include <algorithm>
#include <iterator>

namespace nabla {

namespace {

constexpr std::size_t kDiscardWindow = 200;
constexpr double kAllowedDiscards = 2.0;
constexpr double kDoublingFactor = 2.0;
constexpr double kDurationMemory = 0.8;

bool is_evaluation(std::uint64_t ticket_id) { return ticket_id >= kFirstEvaluationTicket; }

}  // namespace

TicketIssuer::TicketIssuer(const SlotPlan& plan, const IssuerOptions& options)
    : plan_(plan),
      options_(options),
      states_(static_cast<std::size_t>(plan.num_slots()), SlotState::kNotIssued),
      relabel_states_(states_) {}

TicketIssuer::Answer TicketIssuer::next(const std::string& actor, std::int64_t published_version, double now) {
  Answer answer;
  conduct_.arrived(actor);
  if (OpenTicket* held = held_by(actor)) {
    const auto holder = std::find_if(held->holders.begin(), held->holders.end(), [&](const Holder& h) { return h.actor == actor; });
    if (!holder->begun) {
      answer.ticket = held->ticket;
      answer.ticket->attempt = static_cast<std::int32_t>(held->failures) + 1;
      return answer;
    }
    const std::string fault = holder->fault.empty() ? "it asked for other work before all was accepted" : holder->fault;
    answer.discards = drop_holder(*held, actor, fmt::format("{}: {}", actor, fault));
    conduct_.failed(actor, now);
  }
  if (const double rest = conduct_.rest_of(actor, now); rest > 0) {
    answer.wait_reason = fmt::format("this actor's last tickets failed, and others deliver: it gets none for {:.0f} s", rest);
    return answer;
  }
  open_relabels(published_version);
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

// Evaluations first, then what an update waits for that is all there; each kind in order of its ids.
TicketIssuer::OpenTicket* TicketIssuer::unheld(std::int64_t published_version) {
  const auto waits = [&](const OpenTicket& open) { return open.holders.empty() && open.ticket.version <= published_version; };
  for (const std::uint64_t first : {kFirstEvaluationTicket, kFirstRelabelTicket, std::uint64_t{0}}) {
    for (auto it = open_.lower_bound(first); it != open_.end(); ++it) {
      if (waits(it->second)) return &it->second;
    }
  }
  return nullptr;
}

// Makes the tickets that recompute an update's records, of the slots that were accepted, once no sample of it is outstanding.
void TicketIssuer::open_relabels(std::int64_t published_version) {
  if (!plan_.relabels() || next_relabel_ == plan_.num_updates() || next_relabel_ > published_version || !samples_settled(next_relabel_))
    return;
  const std::int64_t tickets = plan_.slots_per_update() / plan_.ticket_size(), first = next_relabel_++ * tickets;
  for (std::int64_t number = first; number < first + tickets; ++number) {
    OpenTicket open{.ticket = plan_.relabel_ticket(number), .holders = {}, .failures = 0, .missing = {}};
    std::erase_if(open.ticket.slots, [&](const SlotOrder& order) { return state_of(order.slot) != SlotState::kAccepted; });
    for (const auto& order : open.ticket.slots) {
      SlotState& state = relabel_states_[static_cast<std::size_t>(order.slot)];
      if (state != SlotState::kNotIssued) continue;  // it came before the run went on
      state = SlotState::kOpen;
      open.missing.insert(order.slot);
    }
    if (!open.missing.empty()) open_.emplace(open.ticket.id, std::move(open));
  }
}

bool TicketIssuer::samples_settled(std::int64_t update) const {
  const auto first = states_.begin() + update * plan_.slots_per_update();
  return std::all_of(first, first + plan_.slots_per_update(),
                     [](SlotState state) { return state == SlotState::kAccepted || state == SlotState::kDiscarded; });
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

void TicketIssuer::restore(const IssuedBefore& before) {
  const std::int64_t trained_slots = std::min(before.trained_updates * plan_.slots_per_update(), plan_.num_slots());
  for (std::int64_t slot = 0; slot < trained_slots; ++slot) {
    for (const auto kind : {TicketKind::kSample, TicketKind::kRelabel}) set_state(slot, kind, SlotState::kAccepted);
  }
  for (const auto& [slot, kind] : before.accepted) set_state(slot, kind, SlotState::kAccepted);
  for (const auto slot : before.discarded) {
    for (const auto kind : {TicketKind::kSample, TicketKind::kRelabel}) set_state(slot, kind, SlotState::kDiscarded);
  }
  next_relabel_ = std::min(before.trained_updates, plan_.num_updates());
  while (next_ticket_ < plan_.num_tickets() && may_be_issued(next_ticket_, before)) open_again(next_ticket_++);
}

void TicketIssuer::set_state(std::int64_t slot, TicketKind kind, SlotState state) {
  if (slot >= plan_.num_slots()) return;  // of updates that are no longer asked for
  (kind == TicketKind::kRelabel ? relabel_states_ : states_)[static_cast<std::size_t>(slot)] = state;
}

// Whether the ticket was handed out, or may have been: its holder may still be at work on it.
bool TicketIssuer::may_be_issued(std::int64_t number, const IssuedBefore& before) const {
  const std::int64_t first = number * plan_.ticket_size(), update = plan_.update_of(first);
  if (update < before.trained_updates || plan_.version_rule(update).version <= before.newest_version) return true;
  const auto begin = states_.begin() + first;
  return std::any_of(begin, begin + plan_.ticket_size(), [](SlotState state) { return state != SlotState::kNotIssued; });
}

// Counts the ticket as issued, and opens it for what is missing of it.
void TicketIssuer::open_again(std::int64_t number) {
  std::set<std::int64_t> missing;
  const std::int64_t first = number * plan_.ticket_size();
  for (std::int64_t slot = first; slot < first + plan_.ticket_size(); ++slot) {
    SlotState& state = states_[static_cast<std::size_t>(slot)];
    if (state == SlotState::kNotIssued) {
      state = SlotState::kOpen;
      missing.insert(slot);
      continue;
    }
    settled_.push_back({state == SlotState::kDiscarded, ""});
    if (settled_.size() > kDiscardWindow) settled_.pop_front();
  }
  issued_slots_ += plan_.ticket_size();
  if (missing.empty()) return;  // as most are of a long run
  OpenTicket open{.ticket = plan_.ticket(number), .holders = {}, .failures = 0, .missing = std::move(missing)};
  open_.emplace(open.ticket.id, std::move(open));
}

// The only open ticket of its kind of the oldest unfinished update, when one other actor has it for much longer than such tickets take. An update that is
// relabelled is the oldest.
TicketIssuer::OpenTicket* TicketIssuer::worth_doubling(const std::string& actor, double now) {
  auto first = open_.lower_bound(kFirstRelabelTicket);
  if (first == open_.end() || is_evaluation(first->first)) first = open_.begin();
  if (first == open_.end() || is_evaluation(first->first)) return nullptr;
  OpenTicket& oldest = first->second;
  const auto second = std::next(first);
  const bool last_of_update =
      second == open_.end() || second->second.ticket.kind != oldest.ticket.kind || second->second.ticket.update != oldest.ticket.update;
  if (!last_of_update || oldest.holders.size() != 1 || oldest.holders.front().actor == actor) return nullptr;
  const double usual = mean_duration_s_[oldest.ticket.kind];
  return usual > 0 && now - oldest.holders.front().since > kDoublingFactor * usual ? &oldest : nullptr;
}

std::vector<std::uint64_t> TicketIssuer::request_evaluation(std::int64_t version, const std::vector<SlotOrder>& pictures) {
  std::vector<std::uint64_t> ids;
  const auto chunk = static_cast<std::size_t>(plan_.ticket_size());
  for (std::size_t first = 0; first < pictures.size(); first += chunk) {
    OpenTicket open;
    open.ticket.id = kFirstEvaluationTicket + num_evaluation_tickets_++;
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

SlotState TicketIssuer::state_of(std::int64_t slot, TicketKind kind) const {
  if (slot < 0 || slot >= plan_.num_slots()) return SlotState::kNotIssued;
  return (kind == TicketKind::kRelabel ? relabel_states_ : states_)[static_cast<std::size_t>(slot)];
}

const Ticket* TicketIssuer::ticket_of(std::int64_t slot, TicketKind kind) const {
  const auto found = open_.find(plan_.ticket_id_of(slot, kind));
  return found == open_.end() ? nullptr : &found->second.ticket;
}

bool TicketIssuer::holds(const std::string& actor, std::uint64_t ticket_id) const {
  const auto found = open_.find(ticket_id);
  if (found == open_.end()) return false;
  const auto& holders = found->second.holders;
  return std::any_of(holders.begin(), holders.end(), [&](const Holder& holder) { return holder.actor == actor; });
}

void TicketIssuer::accept(std::int64_t slot, double now, TicketKind kind) {
  settle(slot, SlotState::kAccepted, kind);
  const std::uint64_t id = plan_.ticket_id_of(slot, kind);
  for (auto& holder : open_.at(id).holders) holder.progress_at = now;
  close_if_done(id, now);
}

void TicketIssuer::discard(std::int64_t slot, TicketKind kind, const std::string& actor) {
  settle(slot, SlotState::kDiscarded, kind, actor);
  const auto found = open_.find(plan_.ticket_id_of(slot, kind));
  if (found != open_.end() && found->second.missing.empty()) open_.erase(found);
}

void TicketIssuer::settle(std::int64_t slot, SlotState state, TicketKind kind, const std::string& actor) {
  if (state_of(slot, kind) != SlotState::kOpen) throw failure("[issuer] slot {} is settled twice, or was never issued", slot);
  const bool relabel = kind == TicketKind::kRelabel, discarded = state == SlotState::kDiscarded;
  if (relabel) relabel_states_[static_cast<std::size_t>(slot)] = state;
  if (!relabel || discarded) states_[static_cast<std::size_t>(slot)] = state;
  open_.at(plan_.ticket_id_of(slot, kind)).missing.erase(slot);
  if (relabel && !discarded) return;  // its sample was counted
  settled_.push_back({discarded, actor});
  if (settled_.size() > kDiscardWindow) settled_.pop_front();
}

void TicketIssuer::close_if_done(std::uint64_t id, double now) {
  const auto found = open_.find(id);
  if (found == open_.end() || !found->second.missing.empty()) return;
  if (!is_evaluation(id) && !found->second.holders.empty()) {
    const double duration = now - found->second.holders.front().since;
    double& mean = mean_duration_s_[found->second.ticket.kind];
    mean = mean > 0 ? kDurationMemory * mean + (1 - kDurationMemory) * duration : duration;
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

std::int64_t TicketIssuer::discards_of(const std::string& actor) const {
  return std::ranges::count_if(settled_, [&](const Settled& slot) { return slot.discarded && slot.actor == actor; });
}

std::vector<DiscardEntry> TicketIssuer::fail(const std::string& actor, std::uint64_t ticket_id, const std::string& reason, double now) {
  if (!holds(actor, ticket_id)) return {};
  const auto discards = drop_holder(open_.at(ticket_id), actor, reason);
  conduct_.failed(actor, now);
  return discards;
}

std::vector<DiscardEntry> TicketIssuer::remove_actor(const std::string& actor, const std::string& why) {
  std::vector<DiscardEntry> discards;
  if (OpenTicket* held = held_by(actor)) {
    discards = drop_holder(*held, actor, why);
    conduct_.lost(actor);
  }
  conduct_.left(actor);
  return discards;
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
    if (!holds(actor, id)) continue;
    const auto more = drop_holder(open_.at(id), actor,
                                  fmt::format("{} showed no progress for {} s (fleet.ticket_timeout)", actor, options_.ticket_timeout_s));
    conduct_.lost(actor);
    discards.insert(discards.end(), more.begin(), more.end());
  }
  return discards;
}

// `open` may be gone afterwards.
std::vector<DiscardEntry> TicketIssuer::drop_holder(OpenTicket& open, const std::string& actor, const std::string& reason) {
  std::erase_if(open.holders, [&](const Holder& holder) { return holder.actor == actor; });
  ++failed_attempts_;
  if (!may_discard(actor)) return {};
  ++open.failures;
  if (!open.holders.empty() || open.failures < options_.max_attempts) return {};
  const std::uint64_t id = open.ticket.id;
  if (is_evaluation(id)) {
    evaluation_failure_ = fmt::format("the evaluation of version {} failed {} times; last: {}", open.ticket.version, open.failures, reason);
    return {};
  }
  std::vector<DiscardEntry> discards;
  const TicketKind kind = open.ticket.kind;
  const std::set<std::int64_t> missing = open.missing;
  for (const auto slot : missing) {
    discards.push_back({slot, open.ticket.update, fmt::format("attempts: ticket {} failed {} times; last: {}", id, open.failures, reason)});
  }
  for (const auto slot : missing) discard(slot, kind, actor);
  return discards;
}

std::int64_t TicketIssuer::open_slots() const {
  std::int64_t count = 0;
  for (const auto& [id, open] : open_) {
    if (open.ticket.kind == TicketKind::kSample) count += static_cast<std::int64_t>(open.missing.size());
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
  std::map<std::string, std::int64_t> through;
  for (const Settled& slot : settled_) {
    if (slot.discarded) ++through[slot.actor];
  }
  double discarded = 0;
  std::string actors;
  for (const auto& [actor, count] : through) {
    discarded += static_cast<double>(count);
    if (!actor.empty()) actors += fmt::format("{}{} {}", actors.empty() ? "; through " : ", ", actor, count);
  }
  const double limit = std::max(kAllowedDiscards, options_.max_discard_share * static_cast<double>(settled_.size()));
  if (discarded <= limit) return std::nullopt;
  return fmt::format("{} of the last {} slots were discarded; more than {:.0f} are not trained without (fleet.max_discard_share {}){}",
                     discarded, settled_.size(), limit, options_.max_discard_share, actors);
}

std::string TicketIssuer::wait_reason(std::int64_t published_version) const {
  if (next_ticket_ < plan_.num_tickets()) {
    const std::int64_t update = plan_.update_of(next_ticket_ * plan_.ticket_size());
    return fmt::format("update {} is sampled with version {}; the learner has published {}", update, plan_.version_rule(update).version,
                       published_version);
  }
  return open_.empty() ? "all work is done; the learner finishes" : "all work is handed out";
}

std::vector<TicketStatus> TicketIssuer::open_tickets(double now) const {
  std::vector<TicketStatus> tickets;
  for (const auto& [id, open] : open_) {
    TicketStatus status{id, open.ticket.kind, open.ticket.update, open.ticket.version, std::ssize(open.missing), open.failures, {}};
    for (const auto& holder : open.holders) status.holders.push_back({holder.actor, now - holder.since, now - holder.progress_at});
    tickets.push_back(std::move(status));
  }
  return tickets;
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
    return fmt::format("update {}: the evaluation of version {} comes first", update,
                       open_.lower_bound(kFirstEvaluationTicket)->second.ticket.version);
  }
  std::string text = fmt::format("update {}: {} slots outstanding", update, missing);
  if (!held.empty()) text += "; waiting for " + held;
  if (!unclaimed.empty()) text += "; no actor has ticket " + unclaimed;
  return text;
}

}  // namespace nabla
