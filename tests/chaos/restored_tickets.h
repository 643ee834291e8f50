#pragma once

#include "learner/ingest.h"
#include "tests/chaos/shape.h"

#include <cstdint>
#include <map>
#include <set>
#include <string>

namespace nabla::chaos {

// Brings the issuer of a learner that is started again to where its log ends: made-up actors take the tickets of the log's slots one after the other and
// give back what is still open. `ingest` must outlive it.
class RestoredTickets {
 public:
  explicit RestoredTickets(Ingest& ingest) : ingest_(ingest) {}
  // Until the ticket of the slot was issued.
  void take_until(std::int64_t slot);
  // A slot that the log says is discarded: its ticket fails as often as it takes, with all that is missing of it.
  void discard(std::int64_t slot, const Shape& shape);
  void give_back();

 private:
  Ingest& ingest_;
  std::int64_t issued_ = 0;         // slots
  std::set<std::uint64_t> failed_;  // tickets
  std::map<std::int64_t, Ticket> by_first_slot_;
};

}  // namespace nabla::chaos
