#pragma once

#include "common/config/relabel_needs.h"
#include "learner/record_validator.h"
#include "learner/slot_plan.h"
#include "protocol/record.h"
#include "protocol/snapshot.h"

#include <bit>
#include <chrono>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace nabla::testing {

inline constexpr std::chrono::milliseconds kAtOnce{0};

// A version without tensors, for those who only look at versions and digests.
inline Snapshot empty_snapshot(std::int64_t version) {
  return {.version = version,
          .digest = "digest-" + std::to_string(version),
          .base_digest = "base-1",
          .table = {},
          .data = {},
          .data_crc32c = 0};
}

// Four updates of eight slots, tickets of four; ten sampling steps, three drawn and the terminal one.
inline RunConfig small_config() {
  RunConfig config;
  config.seed = 7;
  config.training.updates = 4;
  config.training.batch_size = 4;
  config.training.gradient_accumulation_steps = 2;
  config.model.timestep_fraction = 0.3;
  config.sampling.num_steps = 10;
  config.fleet.ticket_size = 4;
  config.fleet.max_policy_lag = 1;
  config.eval.prompts = 2;
  config.eval.seeds = 3;
  return config;
}

inline SlotPlan make_plan(const RunConfig& config) {
  return {config, {PromptSource({"a red star", "a blue ring", "a green cross"}), PromptSource({"a white star", "a gray ring"})}};
}

inline RecordRules small_rules() {
  RecordRules rules;
  rules.run_id = "run-1";
  rules.step_table_id = "table-1";
  for (std::int32_t step = 0; step < 10; ++step) rules.steps.push_back({step, 901 - 100 * step, step == 9 ? 0 : 801 - 100 * step});
  rules.latent_shape = {1, 2, 2};
  rules.tokens = 2;
  rules.vocabulary = 10;
  return rules;
}

struct RecordChange {
  std::string actor = "actor-1";
  std::int64_t version = 0;
  float offset = 0;                      // added to every element
  std::string without = {}, extra = {};  // names of a missing and of an unknown tensor
  std::int64_t channels = 1;
  float poison = 0;  // the first element of x, if not 0
};

inline RecordHeader header_of(const SlotPlan& plan, std::int64_t slot, const RecordChange& change) {
  const RecordRules rules = small_rules();
  const SlotOrder order = plan.order_of(slot);
  RecordHeader header;
  header.run_id = rules.run_id;
  header.slot = slot;
  header.update = plan.update_of(slot);
  header.ticket_id = static_cast<std::uint64_t>(slot / plan.ticket_size()) + 1;
  header.actor_id = change.actor;
  header.version = change.version;
  header.digest = "digest-" + std::to_string(change.version);
  header.prompt_index = order.prompt_index;
  header.prompt = order.prompt;
  header.token_ids = {1, 2};
  header.seed = order.seed;
  header.step_table_id = rules.step_table_id;
  for (const auto step : order.transitions) header.transitions.push_back(rules.steps[static_cast<std::size_t>(step)]);
  header.reward = 1.5;
  header.gradient_kind = rules.needs.gradient_kind;
  return header;
}

inline EncodedRecord encode_with(RecordHeader header, const RecordChange& change,
                                 std::vector<std::string> names = tensor_names(small_rules().needs)) {
  const auto rows = static_cast<std::int64_t>(header.transitions.size());
  std::vector<float> values(static_cast<std::size_t>(rows * change.channels * 4));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = 0.25F * static_cast<float>(i) + change.offset + static_cast<float>(header.slot);
  auto x = values;
  if (change.poison != 0) x.front() = change.poison;
  std::map<std::string, TensorSource> tensors;
  if (!change.extra.empty()) names.push_back(change.extra);
  for (const auto& name : names) {
    if (name != change.without)
      tensors[name] = {DType::kF32, {rows, change.channels, 2, 2}, std::as_bytes(std::span(name == "x" ? x : values))};
  }
  return encode_record(std::move(header), pack_tensors(tensors));
}

// The record that an honest actor makes of a slot, or one with a change.
inline EncodedRecord make_record(const SlotPlan& plan, std::int64_t slot, const RecordChange& change = {}) {
  return encode_with(header_of(plan, slot, change), change);
}

// The relabel record that an honest actor makes of a slot, with the update's own version, or one with a change.
inline EncodedRecord make_relabel(const SlotPlan& plan, std::int64_t slot, RecordChange change = {}) {
  if (change.version == 0) change.version = plan.update_of(slot);
  RecordHeader header = header_of(plan, slot, change);
  header.kind = TicketKind::kRelabel;
  header.ticket_id = plan.ticket_id_of(slot, TicketKind::kRelabel);
  header.reward = 0;
  return encode_with(std::move(header), change, policy_dependent_tensors(small_rules().needs));
}

}  // namespace nabla::testing
