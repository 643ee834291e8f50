#pragma once

#include "common/diffusion/model_source.h"

namespace nabla {

// A folder of a StableDiffusionPipeline as diffusers saves it. Weights are read from safetensors files, else from .bin files; whole or in shards; without a variant,
// else fp16, else non_ema.
class DiffusersFolder : public ModelSource {
 public:
  // Refuses other pipelines by name.
  explicit DiffusersFolder(const std::string& path);

  nlohmann::ordered_json config(Component component) const override;
  std::string config_name(Component component) const override;
  TensorMap tensors(Component component) const override;
  std::string tensors_name(Component component) const override;
  nlohmann::ordered_json scheduler() const override;
  std::string scheduler_name() const override;
  ClipTokenizer tokenizer() const override;
  void write_tokenizer(const std::string& folder) const override;

 private:
  std::string path_;
};

// The weights of one network's folder, found as above. data_error naming the folder and what was sought.
TensorMap load_component_tensors(const std::string& folder, const std::string& base_name);

}  // namespace nabla
