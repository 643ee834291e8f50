#include "tests/chaos/fake_record.h"

#include "common/config/record_needs.h"
#include "common/philox.h"

#include <charconv>
#include <map>
#include <vector>

namespace nabla::chaos {

namespace {

// No purpose of the product's.
constexpr auto kFakeTensor = static_cast<RandomPurpose>(1000);
constexpr std::uint64_t kMaxTensors = 16;

std::uint64_t key_of(std::uint64_t seed, const std::string& digest) {
  std::uint64_t value = 0;
  std::from_chars(digest.data(), digest.data() + std::min<std::size_t>(digest.size(), 16), value, 16);
  return value ^ seed;
}

std::vector<float> random_values(std::uint64_t key, std::uint64_t index, std::size_t count) {
  Philox random(key, kFakeTensor, index);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.next() >> 8) * 0x1p-24F - 0.5F;
  return values;
}

}  // namespace

PackedTensors fake_tensors(const Shape& shape, const RecordRules& rules, std::int64_t rows, std::int64_t slot,
                           const std::string& used_digest) {
  std::vector<std::int64_t> dimensions{rows};
  std::size_t count = static_cast<std::size_t>(rows);
  for (const auto size : rules.latent_shape) {
    dimensions.push_back(size);
    count *= static_cast<std::size_t>(size);
  }
  const std::uint64_t key = key_of(shape.seed, used_digest);
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, TensorSource> sources;
  for (const auto& name : tensor_names(rules.needs)) {
    const std::uint64_t index = static_cast<std::uint64_t>(slot) * kMaxTensors + values.size();
    const auto& of_tensor = values[name] = random_values(key, index, count);
    sources[name] = {DType::kF32, dimensions, std::as_bytes(std::span(of_tensor))};
  }
  return pack_tensors(sources);
}

EncodedRecord fake_record(const Shape& shape, const RecordRules& rules, const SlotPlan& plan, std::int64_t slot,
                          const RecordOrigin& origin) {
  const SlotOrder order = plan.order_of(slot);
  RecordHeader header;
  header.run_id = rules.run_id;
  header.slot = slot;
  header.update = plan.update_of(slot);
  header.ticket_id = plan.ticket_id_of(slot, TicketKind::kSample);
  header.actor_id = origin.actor_id;
  header.version = origin.version;
  header.digest = origin.digest;
  header.prompt_index = order.prompt_index;
  header.prompt = order.prompt;
  header.token_ids = {1, 2};
  header.seed = order.seed;
  header.step_table_id = rules.step_table_id;
  for (const auto step : order.transitions) header.transitions.push_back(rules.steps[static_cast<std::size_t>(step)]);
  header.reward = static_cast<double>(slot % 7);
  header.reward_components = {{"nonce", static_cast<double>(origin.nonce)}};
  header.gradient_kind = rules.needs.gradient_kind;
  return encode_record(std::move(header), fake_tensors(shape, rules, plan.rows(), slot, origin.used_digest));
}

std::int64_t nonce_of(const RecordHeader& header) {
  const auto found = header.reward_components.find("nonce");
  return found == header.reward_components.end() ? -1 : static_cast<std::int64_t>(found->second);
}

}  // namespace nabla::chaos
