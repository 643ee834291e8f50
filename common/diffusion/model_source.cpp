#include "common/diffusion/model_source.h"

#include "common/diffusion/clip_text.h"
#include "common/diffusion/unet.h"
#include "common/diffusion/vae.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace nabla {

namespace {

template <class Network, class Config>
ParameterMatch match_network(const ModelSource& source, Component component) {
  const Network network(Config::from_json(nlohmann::json(source.config(component)), source.config_name(component)));
  return match_parameters(network, source.tensors(component));
}

}  // namespace

const char* name_of(Component component) {
  switch (component) {
    case Component::kTextEncoder:
      return "text_encoder";
    case Component::kUnet:
      return "unet";
    case Component::kVae:
      return "vae";
  }
  return "";
}

const char* weights_name(Component component) { return component == Component::kTextEncoder ? "model" : "diffusion_pytorch_model"; }

ParameterMatch match_component(const ModelSource& source, Component component) {
  switch (component) {
    case Component::kTextEncoder:
      return match_network<ClipTextModel, ClipTextConfig>(source, component);
    case Component::kUnet:
      return match_network<UNet2DConditionModel, UNetConfig>(source, component);
    case Component::kVae:
      return match_network<AutoencoderKL, VaeConfig>(source, component);
  }
  return {};
}

TensorMap canonical_tensors(const ModelSource& source, Component component) {
  TensorMap tensors;
  for (const auto& [stored, tensor] : source.tensors(component)) {
    if (stored.ends_with("position_ids")) continue;
    const bool short_text_name = component == Component::kTextEncoder && !stored.starts_with("text_model.");
    const std::string name = component == Component::kVae ? modern_attention_name(stored)
                             : short_text_name            ? "text_model." + stored
                                                          : stored;
    const bool attention = component == Component::kVae && name.find(".mid_block.attentions.0.to_") != std::string::npos;
    tensors[name] = attention && tensor.dim() > 2 ? tensor.flatten(1) : tensor;
  }
  return tensors;
}

}  // namespace nabla
