#include "tests/learner/tiny_model.h"

#include "common/files.h"
#include "learner/record_validator.h"
#include "tests/diffusion/model_writer.h"
#include "tests/testing.h"

#include <filesystem>

namespace nabla::testing {

namespace {

constexpr std::int64_t kLatentSize = 4;

std::string parity_data(const std::string& name) { return std::string(NABLA_PARITY_DATA) + "/" + name; }

ClipTextConfig text_config() {
  ClipTextConfig config;
  config.vocab_size = 571;
  config.hidden_size = 8;
  config.intermediate_size = 16;
  config.num_hidden_layers = 1;
  config.num_attention_heads = 2;
  config.max_position_embeddings = 16;
  return config;
}

SharedRecord decoded(const EncodedRecord& encoded) {
  DecodeResult result = decode_record(encoded, {.check_finite = false});
  REQUIRE(result.reason == "");
  return std::make_shared<TrajectoryRecord>(std::move(result.record));
}

}  // namespace

TinyModelFolder::TinyModelFolder() {
  const auto file = [&](const std::string& name) { return folder_.file(name); };
  write_pipeline(folder_.path());
  write_network<UNet2DConditionModel>(file("unet"), "diffusion_pytorch_model", tiny_unet_config(kLatentSize, 8), 1);
  write_network<ClipTextModel>(file("text_encoder"), "model", text_config(), 2);
  std::filesystem::copy(parity_data("vae_one_layer"), file("vae"), std::filesystem::copy_options::recursive);
  std::filesystem::copy(parity_data("pocket_tokenizer"), file("tokenizer"), std::filesystem::copy_options::recursive);
  std::filesystem::create_directory(file("prompts"));
  write_file(file("prompts/train.txt"), "a red star\na blue ring\na green cross\n");
  write_file(file("prompts/eval.txt"), "a white star\na gray ring\n");
}

RunConfig tiny_config(const TinyModelFolder& folder) {
  RunConfig config;
  config.seed = 7;
  config.pretrained.model = folder.path();
  config.training.updates = 3;
  config.training.batch_size = config.training.gradient_accumulation_steps = 2;
  config.model.lora_rank = 2;
  config.model.lora_alpha = 2.0;
  config.model.reward_scale = config.model.unet_reg_scale = 1.0;
  config.model.timestep_fraction = 0.4;
  config.model.flow_channel_width = {4, 8};
  config.sampling.num_steps = 5;
  config.fleet.ticket_size = 2;
  config.fleet.max_policy_lag = 1;
  config.eval.every = 0;
  config.eval.prompts = 2;
  config.eval.seeds = 1;
  return config;
}

EncodedRecord tiny_record(const RecordOrigin& origin, const SlotOrder& order, const StepTable& table,
                          const std::vector<std::int64_t>& token_ids, const TensorMap& instead, const RecordNeeds& needs) {
  RecordHeader header;
  header.run_id = origin.run_id;
  header.slot = order.slot;
  header.update = origin.update;
  header.ticket_id = origin.ticket_id;
  header.actor_id = origin.actor_id;
  header.version = origin.version;
  header.digest = origin.digest;
  header.prompt_index = order.prompt_index;
  header.prompt = order.prompt;
  header.token_ids = token_ids;
  header.seed = order.seed;
  header.step_table_id = table.id;
  for (const auto step : order.transitions) {
    const Transition& transition = table.transitions[static_cast<std::size_t>(step)];
    header.transitions.push_back({step, transition.timestep, transition.next_timestep});
  }
  header.reward = 0.5 * static_cast<double>(order.slot);
  header.gradient_kind = needs.gradient_kind;
  const auto rows = static_cast<std::int64_t>(order.transitions.size());
  TensorMap tensors;
  std::uint64_t index = 100 * static_cast<std::uint64_t>(order.slot);
  for (const auto& name : tensor_names(needs)) {
    const std::vector<std::int64_t> shape{rows_of_tensor(name, needs, rows), 4, kLatentSize, kLatentSize};
    const Tensor drawn = normal_tensor(shape, Philox(3, RandomPurpose::kEvaluationNoise, ++index));
    tensors[name] = instead.contains(name) ? instead.at(name).contiguous() : drawn;
  }
  std::map<std::string, TensorSource> sources;
  for (const auto& [name, tensor] : tensors)
    sources[name] = {DType::kF32, tensor.sizes().vec(), std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes())};
  return encode_record(std::move(header), pack_tensors(sources));
}

TinyLearner::TinyLearner(const RunConfig& run_config)
    : config(run_config),
      model(make_learner_model(config, "a white star")),
      plan(config, open_prompts(config)),
      tokenizer(ClipTokenizer::load(config.pretrained.model + "/tokenizer")) {}

SharedRecord TinyLearner::record(std::int64_t slot, const TensorMap& instead) const {
  const SlotOrder order = plan.order_of(slot);
  return decoded(tiny_record({}, order, model.table, tokenizer.encode(order.prompt), instead, record_needs_of(config)));
}

UpdateRecords TinyLearner::update_of(const std::vector<std::int64_t>& slots) const {
  UpdateRecords update;
  for (const auto slot : slots) update.records.push_back(record(slot));
  return update;
}

}  // namespace nabla::testing
