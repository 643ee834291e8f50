#include "tests/chaos/restored_tickets.h"

#include "common/error.h"

namespace nabla::chaos {

namespace {

std::string holder_of(const Ticket& ticket) { return fmt::format("restored-{}", ticket.id); }

}  // namespace

void RestoredTickets::take_until(std::int64_t slot) {
  while (slot >= issued_) {
    // Tickets come in the order of the plan; their ids count from 1.
    const std::string holder = fmt::format("restored-{}", by_first_slot_.size() + 1);
    const Work work = ingest_.on_ticket_request(holder);
    if (!work.ticket || work.ticket->slots.front().slot != issued_)
      throw failure("[chaos] the ticket of slot {} is not to be had again: {}", issued_, work.wait_reason);
    by_first_slot_[issued_] = *work.ticket;
    issued_ += static_cast<std::int64_t>(work.ticket->slots.size());
  }
}

void RestoredTickets::discard(std::int64_t slot, const Shape& shape) {
  take_until(slot);
  const Ticket& ticket = by_first_slot_.at(slot / shape.ticket_size * shape.ticket_size);
  if (!failed_.insert(ticket.id).second) return;
  for (std::int64_t attempt = 0; attempt < shape.max_attempts; ++attempt) {
    if (attempt > 0) ingest_.on_ticket_request(holder_of(ticket));
    ingest_.on_ticket_failed(holder_of(ticket), ticket.id, "restored");
  }
}

void RestoredTickets::give_back() {
  for (const auto& [slot, ticket] : by_first_slot_) ingest_.on_actor_gone(holder_of(ticket), "restored");
}

}  // namespace nabla::chaos
