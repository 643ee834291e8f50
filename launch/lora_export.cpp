#include "launch/lora_export.h"

#include "actors/workbench.h"
#include "common/diffusion/merged_source.h"
#include "common/error.h"
#include "common/files.h"
#include "launch/conversion.h"
#include "launch/evaluation/judged_run.h"

#include <fmt/format.h>
#include <torch/types.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <optional>

namespace nabla {

namespace fs = std::filesystem;

namespace {

// A LoRA on the UNet of its base model, and what its files are to say.
struct OpenedLora {
  ModelFolder model;
  std::shared_ptr<UNet2DConditionModel> unet;
  LoraAdapter adapter;
  std::string name;
  std::map<std::string, std::string> metadata;
};

OpenedLora attach_lora(const ModelFolder& model, const std::function<TensorMap(UNet2DConditionModel&)>& lora, const std::string& name,
                       double scale) {
  const auto unet = model.load_unet(at::kFloat);
  LoraAdapter adapter = LoraAdapter::attach(*unet, lora(*unet), scale);
  return {model, unet, std::move(adapter), name, {}};
}

// A run's weights are those that an evaluation of it would judge: exported, held by its learner, or trained again from its log.
OpenedLora open_run_lora(const ExportOptions& options) {
  std::vector<std::string> overrides;
  if (!options.model.empty()) overrides.push_back("pretrained.model=" + options.model);
  const JudgedRun run = open_judged_run("export", options.source, overrides);
  Workbench bench = make_workbench(run.config);
  const std::int64_t version = install_judged_weights(bench, run);
  const double own_scale = bench.policy->lora().scale();
  TensorMap lora;
  for (const auto& [name, tensor] : bench.policy->lora().tensors())
    lora[name] = name.ends_with(".lora_B.weight") ? tensor * own_scale : tensor.clone();
  OpenedLora opened = attach_lora(
      ModelFolder::open(run.config.pretrained.model), [&](UNet2DConditionModel&) { return lora; }, run.config.run.name, options.lora_scale);
  opened.metadata = {{"nabla_run", fs::path(bare_path(run.path)).filename().string()}, {"ss_seed", std::to_string(run.config.seed)}};
  if (version >= 0) opened.metadata["nabla_updates"] = std::to_string(version);
  return opened;
}

OpenedLora open_lora(const ExportOptions& options) {
  if (names_run(options.source)) return open_run_lora(options);
  if (!fs::is_regular_file(options.source)) throw data_error("[export] there is no run and no LoRA file at '{}'", options.source);
  if (options.model.empty()) throw usage_error("[export] '{}' does not say which model it belongs to; give it by --model", options.source);
  return attach_lora(
      ModelFolder::open(options.model), [&](UNet2DConditionModel& unet) { return read_lora_file(options.source, unet); },
      fs::path(options.source).stem().string(), options.lora_scale);
}

std::vector<std::string> write_lora_files(const OpenedLora& lora, const std::string& target) {
  const std::string diffusers = "pytorch_lora_weights.safetensors", webui = lora.name + "_webui.safetensors";
  AtomicFolder folder(target, fmt::format(".tmp.{}", ::getpid()));
  write_lora_diffusers(folder.temporary_path() + "/" + diffusers, lora.adapter);
  write_lora_kohya(folder.temporary_path() + "/" + webui, lora.adapter, lora.metadata);
  folder.commit();
  const std::string place = bare_path(target);
  return {fmt::format("{}/{} (diffusers)", place, diffusers), fmt::format("{}/{} (ComfyUI, A1111)", place, webui)};
}

}  // namespace

std::vector<std::string> export_lora(const ExportOptions& options) {
  if (!std::isfinite(options.lora_scale)) throw usage_error("[export] --lora-scale is {}; a finite number is expected", options.lora_scale);
  if (!options.merge && !options.dtype.empty()) throw usage_error("[export] --dtype is of a merged model; add --merge");
  if (!options.merge && options.target.ends_with(".safetensors"))
    throw usage_error("[export] '{}': a LoRA is written as two files into a folder; with --merge the whole model goes into one file",
                      options.target);
  require_new_target(options.target);
  const at::NoGradGuard no_grad;
  const OpenedLora lora = open_lora(options);
  if (!options.merge) return write_lora_files(lora, options.target);
  const MergedSource merged(lora.model.source(), lora.adapter.merged_weights());
  return {write_model(merged, lora.model.path(), options.target, options.dtype)};
}

}  // namespace nabla
