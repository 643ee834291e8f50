#pragma once

#include "actors/progress.h"
#include "protocol/record.h"
#include "tests/actors/tiny_model.h"

#include <cstring>

namespace nabla {

// Three slots of an update, four rows each; `version` is the only one allowed.
inline Ticket three_slots(std::uint64_t id = 4, std::int64_t version = 0) {
  Ticket ticket;
  ticket.id = id;
  ticket.update = 2;
  ticket.version = version;
  ticket.exact_version = true;
  ticket.slots = {{20, 5, "a red star", 77, {0, 3, 7, 9}},
                  {21, 6, "two blue rings", 77, {2, 4, 8, 9}},
                  {22, 7, "a large green cross", 77, {1, 4, 5, 9}}};
  return ticket;
}

inline Ticket four_pictures(std::uint64_t id = 9) {
  Ticket ticket;
  ticket.id = id;
  ticket.kind = TicketKind::kEvaluate;
  ticket.exact_version = true;
  ticket.slots = {
      {0, 0, "a red star", 77, {}}, {1, 0, "a red star", 77, {}}, {2, 1, "two blue rings", 77, {}}, {3, 2, "no caption of ours", 77, {}}};
  return ticket;
}

inline Progress silent_progress() {
  return {[](const Heartbeat&) {}, std::stop_token()};
}

// A copy of one tensor of a message.
inline Tensor tensor_of(const std::vector<TensorEntry>& table, const Bytes& data, const std::string& name) {
  const TensorEntry* entry = find_tensor(table, name);
  REQUIRE_MESSAGE(entry != nullptr, name);
  Tensor tensor = at::empty(entry->shape, at::TensorOptions().dtype(scalar_type(entry->dtype)));
  std::memcpy(tensor.data_ptr(), data.view.data() + entry->offset, entry->size);
  return tensor;
}

inline bool same_bytes(const Bytes& a, const Bytes& b) { return std::ranges::equal(a.view, b.view); }

}  // namespace nabla
