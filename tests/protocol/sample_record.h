#pragma once

#include "protocol/record.h"

#include <cstring>
#include <numeric>
#include <string>
#include <vector>

namespace nabla {

// A header whose every field has a value of its own, for 2 transitions.
inline RecordHeader sample_header(std::int64_t slot = 7) {
  RecordHeader header;
  header.run_id = "20260131-142500-1a2b3c4d";
  header.slot = slot;
  header.update = slot / 4;
  header.ticket_id = 12;
  header.actor_id = "host-4711";
  header.version = 1;
  header.digest = "0123456789abcdef0123456789abcdef";
  header.prompt_index = 3;
  header.prompt = "two red circles, \xC3\xA9t\xC3\xA9";
  header.token_ids = {49406, 17, 49407};
  header.seed = 0xFFFFFFFFFFFFFFFF;
  header.step_table_id = "ddim-50";
  header.transitions = {{3, 901, 881}, {49, 1, 0}};
  header.reward = 0.25;
  header.reward_components = {{"aesthetic", 0.5}, {"red", -0.25}};
  header.reward_spec = "aesthetic*0.5";
  header.gradient_kind = "policy_fl";
  return header;
}

// Floats 0, 0.5, 1, ... for tensors [2,1,2,3].
inline std::vector<float> sample_values() {
  std::vector<float> values(12);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) / 2.0F;
  return values;
}

inline PackedTensors sample_tensors(const std::vector<float>& values = sample_values()) {
  const TensorSource source{DType::kF32, {2, 1, 2, 3}, std::as_bytes(std::span(values))};
  return pack_tensors({{"x", source}, {"y", source}, {"eps_reference", source}});
}

inline EncodedRecord sample_record(std::int64_t slot = 7) { return encode_record(sample_header(slot), sample_tensors()); }

// Bytes of one's own.
inline Bytes own(std::vector<std::byte> bytes) {
  auto owner = std::make_shared<std::vector<std::byte>>(std::move(bytes));
  return {owner, *owner};
}

inline std::vector<std::byte> copy_of(const Bytes& bytes) { return {bytes.view.begin(), bytes.view.end()}; }

}  // namespace nabla
