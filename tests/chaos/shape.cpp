#include "tests/chaos/shape.h"

#include "common/crc32c.h"
#include "common/digest.h"
#include "common/error.h"
#include "common/json_file.h"

#include <cstring>

namespace nabla::chaos {

namespace {

constexpr std::int64_t kSteps = 10;

RunConfig config_of(const Shape& shape) {
  RunConfig config;
  config.seed = shape.seed;
  config.training.updates = shape.updates();
  config.training.batch_size = shape.slots_per_update;
  config.training.gradient_accumulation_steps = 1;
  config.model.timestep_fraction = 0.3;
  config.sampling.num_steps = kSteps;
  config.fleet.ticket_size = shape.ticket_size;
  config.fleet.max_policy_lag = shape.max_policy_lag;
  config.fleet.lockstep = shape.lockstep;
  return config;
}

}  // namespace

std::string text_of(const Shape& shape) {
  const nlohmann::ordered_json json{{"seed", shape.seed},
                                    {"slots", shape.slots},
                                    {"slots_per_update", shape.slots_per_update},
                                    {"ticket_size", shape.ticket_size},
                                    {"max_policy_lag", shape.max_policy_lag},
                                    {"max_attempts", shape.max_attempts},
                                    {"ticket_timeout_s", shape.ticket_timeout_s},
                                    {"max_discard_share", shape.max_discard_share},
                                    {"lockstep", shape.lockstep}};
  return json.dump();
}

Shape shape_from(const std::string& text) {
  const auto json = parse_json(text, "the shape of the chaos run");
  Shape shape;
  json.at("seed").get_to(shape.seed);
  json.at("slots").get_to(shape.slots);
  json.at("slots_per_update").get_to(shape.slots_per_update);
  json.at("ticket_size").get_to(shape.ticket_size);
  json.at("max_policy_lag").get_to(shape.max_policy_lag);
  json.at("max_attempts").get_to(shape.max_attempts);
  json.at("ticket_timeout_s").get_to(shape.ticket_timeout_s);
  json.at("max_discard_share").get_to(shape.max_discard_share);
  json.at("lockstep").get_to(shape.lockstep);
  return shape;
}

SlotPlan plan_of(const Shape& shape) {
  return {config_of(shape), {PromptSource({"a red star", "a blue ring", "a green cross"}), PromptSource({"a white star"})}};
}

RecordRules rules_of(const Shape&) {
  RecordRules rules;
  rules.run_id = kRunId;
  rules.step_table_id = "chaos-table";
  for (std::int32_t step = 0; step < kSteps; ++step) rules.steps.push_back({step, 901 - 100 * step, step == 9 ? 0 : 801 - 100 * step});
  rules.latent_shape = {2, 4, 4};
  rules.tokens = 2;
  rules.vocabulary = 10;
  return rules;
}

IssuerOptions issuer_of(const Shape& shape) { return {shape.ticket_timeout_s, shape.max_attempts, shape.max_discard_share}; }

std::string first_weights(const Shape& shape) { return Digest().update("start").update(std::to_string(shape.seed)).hex(); }

std::string next_weights(const std::string& weights, std::span<const TrainedRecord> records) {
  Digest digest;
  digest.update(weights);
  for (const TrainedRecord& record : records)
    digest.update(fmt::format("|{} {} {}|", record.slot, record.version, record.digest)).update(record.data);
  return digest.hex();
}

TrainedRecord trained_record(const TrajectoryRecord& record) {
  return {record.header.slot, record.header.version, record.header.digest, record.encoded.data.view};
}

std::string digest_of_weights(const std::string& weights) { return Digest().update("weights ").update(weights).hex(); }

Snapshot snapshot_of(std::int64_t version, const std::string& weights) {
  const std::map<std::string, TensorSource> tensors{
      {"weights", {DType::kU8, {static_cast<std::int64_t>(weights.size())}, std::as_bytes(std::span(weights))}}};
  PackedTensors packed = pack_tensors(tensors);
  const std::uint32_t checksum = crc32c(packed.data.view);
  return {version, digest_of_weights(weights), kBaseDigest, std::move(packed.table), std::move(packed.data), checksum};
}

std::string weights_in(const Snapshot& snapshot) {
  const TensorEntry* entry = find_tensor(snapshot.table, "weights");
  if (entry == nullptr) throw failure("[chaos] version {} has no weights", snapshot.version);
  std::string text(entry->size, '\0');
  std::memcpy(text.data(), snapshot.data.view.data() + entry->offset, entry->size);
  return text;
}

}  // namespace nabla::chaos
