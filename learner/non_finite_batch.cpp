#include "learner/non_finite_batch.h"

#include "common/error.h"
#include "common/files.h"
#include "common/json_file.h"
#include "learner/checkpoint/named_tensors.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

#include <cstring>
#include <filesystem>

namespace nabla {

namespace {

std::string bytes_of(const std::optional<NonFiniteBatch>& batch) {
  if (!batch) return "";
  nlohmann::json tensors = nlohmann::json::object();
  for (const auto& [name, tensor] : batch->tensors) {
    const auto* first = static_cast<const std::uint8_t*>(tensor.const_data_ptr());
    tensors[name] = {
        {"dtype", dtype_of(tensor)}, {"shape", tensor.sizes().vec()}, {"bytes", nlohmann::json::binary({first, first + tensor.nbytes()})}};
  }
  std::string bytes;
  nlohmann::json::to_cbor({{"slots", batch->slots}, {"tensors", tensors}}, bytes);
  return bytes;
}

NonFiniteBatch batch_of(const std::string& bytes) {
  const nlohmann::json json = nlohmann::json::from_cbor(bytes);
  NonFiniteBatch batch;
  json.at("slots").get_to(batch.slots);
  for (const auto& [name, entry] : json.at("tensors").items()) {
    Tensor& tensor = batch.tensors[name];
    tensor = at::empty(entry.at("shape").get<std::vector<std::int64_t>>(), scalar_type(entry.at("dtype").get<DType>()));
    const auto& values = entry.at("bytes").get_binary();
    std::memcpy(tensor.mutable_data_ptr(), values.data(), values.size());
  }
  return batch;
}

// What the probe would do again, or does not do, is done already or left out.
RunConfig probe_config(RunConfig config) {
  config.model.reward_grad_clip_percentile = 0;
  config.model.unet_reg_anchor = "behaviour";
  config.model.terminal_weighting = "official";
  return config;
}

std::string command_of(const std::string& folder, const std::string& model, bool has_flow) {
  const std::string flow = has_flow ? fmt::format(" --flow '{}/flow'", folder) : "";
  return fmt::format(
      "nabla probe loss --config '{0}/config.yaml' --model '{1}' --lora '{0}/lora.safetensors'{2} --in '{0}/batch.safetensors' --out "
      "'{0}/gradients.safetensors'\n",
      folder, model, flow);
}

}  // namespace

NonFiniteBatch non_finite_batch(std::span<const SharedRecord> records, const MicroBatch& micro, const RunConfig& config) {
  const TransitionBatch& rows = micro.transitions;
  NonFiniteBatch batch;
  for (const auto& record : records) batch.slots.push_back(record->header.slot);
  TensorMap tensors{
      {"x", rows.x},
      {"y", rows.y},
      {"timestep", rows.timestep},
      {"next_timestep", rows.next_timestep},
      {"is_terminal", rows.is_terminal.to(at::kByte)},
      {"eps_behaviour", rows.eps_anchor.defined() && config.experiment.method != "DDPO" ? rows.eps_anchor : rows.eps_behaviour},
      {"eps_reference", rows.eps_reference},
      {"reward_grad_y", rows.reward_grad_y},
      {"reward_grad_x", rows.reward_grad_x},
      {"reward_grad_x0", rows.reward_grad_x0},
      {"reverse_score_reference", rows.reverse_score_reference},
      {"reverse_score_policy", rows.reverse_score_policy},
      {"reverse_rao_blackwell", rows.reverse_rao_blackwell},
      {"prompt_embeds", micro.conditioning.prompt_embeds},
      {"negative_prompt_embeds", micro.conditioning.negative_embeds}};
  if (config.experiment.method == "DDPO") tensors["advantage"] = rows.advantage;
  std::erase_if(tensors, [](const auto& entry) { return !entry.second.defined(); });
  batch.tensors = copies_of(tensors);
  return batch;
}

std::optional<NonFiniteBatch> gather(ProcessGroup& group, const std::optional<NonFiniteBatch>& own) {
  if (group.size() == 1) return own;
  for (const auto& bytes : group.all_gather(bytes_of(own))) {
    if (!bytes.empty()) return batch_of(bytes);
  }
  return std::nullopt;
}

void write_non_finite_batch(const std::string& folder, const NonFiniteBatch& batch, const RunConfig& config, const LearnerModel& model) {
  std::filesystem::create_directories(folder);
  save_tensors(folder + "/batch.safetensors", batch.tensors, {{"slots", nlohmann::json(batch.slots).dump()}});
  write_lora_diffusers(folder + "/lora.safetensors", model.policy->lora());
  if (model.flow) {
    std::filesystem::create_directories(folder + "/flow");
    save_tensors(folder + "/flow/diffusion_pytorch_model.safetensors", copies_of(parameters_by_name(*model.flow)));
    write_json(folder + "/flow/config.json", model.flow->config().to_json());
  }
  RunConfig probed = probe_config(config);
  write_file(folder + "/config.yaml", to_yaml(fields_of(probed)));
  write_file(folder + "/command.sh", command_of(folder, config.pretrained.model, model.flow != nullptr));
}

}  // namespace nabla
