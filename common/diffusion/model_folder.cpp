#include "common/diffusion/model_folder.h"

#include "common/diffusion/hub_cache.h"
#include "common/diffusion/single_file.h"
#include "common/digest.h"
#include "common/error.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

#include <filesystem>

namespace nabla {

namespace fs = std::filesystem;

ModelFolder ModelFolder::open(const std::string& path) {
  const std::string found = resolve_model_path(path);
  ModelFolder model;
  model.path_ = path;
  if (fs::is_directory(found)) {
    model.source_ = std::make_shared<DiffusersFolder>(found);
  } else if (fs::is_regular_file(found)) {
    model.source_ = std::make_shared<SingleFile>(found);
  } else {
    const std::string cached = hub_folder(path);
    throw data_error(
        "[model] there is no model folder '{}' and no such file{}; pretrained.model takes a folder in diffusers' layout, a single file or "
        "a name in the hub cache",
        path, cached.empty() ? "" : ", nor '" + cached + "'");
  }
  return model;
}

namespace {

template <class Model, class Config>
std::shared_ptr<Model> load_model(const ModelSource& source, Component component, const Placement& placement) {
  const auto config = Config::from_json(nlohmann::json(source.config(component)), source.config_name(component));
  std::shared_ptr<Model> model;
  try {
    model = std::make_shared<Model>(config);
    place_parameters(*model, placement);
  } catch (const c10::Error&) {  // sizes that no memory holds
    throw data_error("[model] {} describes a network that does not fit into memory; does it belong to a model?",
                     source.config_name(component));
  }
  if (!placement.device.is_meta()) load_parameters(*model, source.tensors(component), source.tensors_name(component));
  for (auto& parameter : model->parameters()) parameter.requires_grad_(false);
  model->eval();
  return model;
}

}  // namespace

std::shared_ptr<UNet2DConditionModel> ModelFolder::load_unet(const Placement& placement) const {
  return load_model<UNet2DConditionModel, UNetConfig>(*source_, Component::kUnet, placement);
}

std::shared_ptr<AutoencoderKL> ModelFolder::load_vae(const Placement& placement) const {
  return load_model<AutoencoderKL, VaeConfig>(*source_, Component::kVae, placement);
}

std::shared_ptr<ClipTextModel> ModelFolder::load_text_encoder(const Placement& placement) const {
  return load_model<ClipTextModel, ClipTextConfig>(*source_, Component::kTextEncoder, placement);
}

ClipTokenizer ModelFolder::load_tokenizer() const { return source_->tokenizer(); }

SchedulerConfig ModelFolder::scheduler() const {
  return SchedulerConfig::from_json(nlohmann::json(source_->scheduler()), source_->scheduler_name());
}

std::string ModelFolder::digest() const {
  Digest digest;
  for (const Component component : kComponents) digest.update(digest_of(canonical_tensors(*source_, component)));
  digest.update(scheduler().to_json().dump());
  digest.update(fmt::format("{}", nlohmann::json(source_->config(Component::kVae)).value("scaling_factor", 0.18215)));
  return digest.hex();
}

}  // namespace nabla
