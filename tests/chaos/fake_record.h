#pragma once

#include "tests/chaos/shape.h"

#include <cstdint>
#include <string>

namespace nabla::chaos {

struct RecordOrigin {
  std::string actor_id;
  std::int64_t version = 0;
  std::string digest;       // stamped on the record
  std::string used_digest;  // of the weights that the actor has; another one only in an actor with a fault
  std::int64_t nonce = 0;   // counts the records of an actor: two records of one slot can be told apart
};

// The tensors of a slot's record: random numbers keyed by the slot, the tensor and the weights. The same whoever makes them.
PackedTensors fake_tensors(const Shape& shape, const RecordRules& rules, std::int64_t rows, std::int64_t slot,
                           const std::string& used_digest);

// The record that an actor makes of a slot; it passes the run's validator.
EncodedRecord fake_record(const Shape& shape, const RecordRules& rules, const SlotPlan& plan, std::int64_t slot,
                          const RecordOrigin& origin);

std::int64_t nonce_of(const RecordHeader& header);

}  // namespace nabla::chaos
