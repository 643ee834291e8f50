#pragma once

#include "common/diffusion/parameters.h"
#include "common/diffusion/tokenizer.h"

#include <nlohmann/json_fwd.hpp>

#include <array>
#include <memory>
#include <string>

namespace nabla {

enum class Component { kTextEncoder, kUnet, kVae };
inline constexpr std::array kComponents{Component::kTextEncoder, Component::kUnet, Component::kVae};

// diffusers' name of a component's folder, and of its weights without an ending: "unet", "diffusion_pytorch_model".
const char* name_of(Component component);
const char* weights_name(Component component);

// Where the parts of a Stable Diffusion v1.x model stand on disk, in which form ever: a folder, or a single file. Nothing is kept in memory; every call may throw
// data_error naming the file.
class ModelSource {
 public:
  virtual ~ModelSource() = default;

  // As in diffusers' config.json; what it is called in messages.
  virtual nlohmann::ordered_json config(Component component) const = 0;
  virtual std::string config_name(Component component) const = 0;
  // Mapped, under diffusers' names or older spellings of them (match_parameters); what they are called in messages.
  virtual TensorMap tensors(Component component) const = 0;
  virtual std::string tensors_name(Component component) const = 0;
  // As in diffusers' scheduler_config.json.
  virtual nlohmann::ordered_json scheduler() const = 0;
  virtual std::string scheduler_name() const = 0;

  virtual ClipTokenizer tokenizer() const = 0;
  // Writes the tokenizer's files into a folder that exists.
  virtual void write_tokenizer(const std::string& folder) const = 0;
};

// What a source has for the network that its configuration describes. No weights are read.
ParameterMatch match_component(const ModelSource& source, Component component);

// The tensors of a component as the project's networks name them, so that two forms of one model have the same digest.
TensorMap canonical_tensors(const ModelSource& source, Component component);

}  // namespace nabla
