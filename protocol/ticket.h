#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

enum class TicketKind : std::uint8_t { kSample = 0, kRelabel = 1, kEvaluate = 2 };

// What one slot (or one picture of an evaluation) is made from; nothing of it depends on who does the work.
struct SlotOrder {
  std::int64_t slot = 0;          // evaluation: index of the picture
  std::int64_t prompt_index = 0;
  std::string prompt;
  std::uint64_t seed = 0;         // run seed (evaluation: evaluation seed); streams are keyed (seed, purpose, slot)
  std::vector<std::int32_t> transitions;  // indices into the step table, ascending; the terminal transition last; empty for evaluations
};

// An immutable work order for a few slots of one rank and one update: flow-control credit, memory reservation and unit of retry.
struct Ticket {
  std::uint64_t id = 0;
  TicketKind kind = TicketKind::kSample;
  std::int64_t update = 0;
  std::int64_t version = 0;       // lowest weight version allowed, or the only one when exact_version
  bool exact_version = false;
  std::int32_t attempt = 1;
  std::string owner;              // address of the owning rank's control socket; empty: the peer that sent the ticket
  std::vector<SlotOrder> slots;
};

}  // namespace nabla
