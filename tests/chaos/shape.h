#pragma once

#include "learner/record_validator.h"
#include "learner/slot_plan.h"
#include "learner/ticket_issuer.h"
#include "protocol/snapshot.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace nabla::chaos {

inline constexpr const char* kRunId = "chaos-run";
inline constexpr const char* kBaseDigest = "chaos-base";

// What a chaos run is made of, known to its learner, its actors and its checker. Travels as the run's configuration, so it stands in the log too.
struct Shape {
  std::uint64_t seed = 1;
  std::int64_t slots = 400, slots_per_update = 40, ticket_size = 8, max_policy_lag = 1, max_attempts = 40;
  double ticket_timeout_s = 5, max_discard_share = 0.05;
  bool lockstep = true;

  std::int64_t updates() const { return slots / slots_per_update; }
};
std::string text_of(const Shape& shape);
Shape shape_from(const std::string& text);

SlotPlan plan_of(const Shape& shape);
RecordRules rules_of(const Shape& shape);
IssuerOptions issuer_of(const Shape& shape);

// The fake weights are a text: a digest chained over what they were trained on. Whatever is trained otherwise shows in all that comes later.
std::string first_weights(const Shape& shape);
// One record of an update, in slot order.
struct TrainedRecord {
  std::int64_t slot = 0, version = 0;
  std::string digest;               // of the weights that sampled it
  std::span<const std::byte> data;  // its tensors
};
std::string next_weights(const std::string& weights, std::span<const TrainedRecord> records);
TrainedRecord trained_record(const TrajectoryRecord& record);

std::string digest_of_weights(const std::string& weights);
Snapshot snapshot_of(std::int64_t version, const std::string& weights);
// The weights in a snapshot, read from its bytes.
std::string weights_in(const Snapshot& snapshot);

}  // namespace nabla::chaos
