#pragma once

#include "common/diffusion/clip_text.h"
#include "common/diffusion/tokenizer.h"
#include "common/diffusion/transition_kernel.h"
#include "common/diffusion/unet.h"
#include "common/diffusion/vae.h"

#include <memory>
#include <string>

namespace nabla {

// A diffusers folder of a StableDiffusionPipeline. Every loader throws data_error naming the file, the tensor, its shape and what was expected;
// missing and unexpected tensors are reported together; NaN and Inf weights are refused by name.
class ModelFolder {
 public:
  static ModelFolder open(const std::string& path);  // checks model_index.json and refuses other pipelines by name
  const std::string& path() const { return path_; }

  std::shared_ptr<UNet2DConditionModel> load_unet(at::ScalarType dtype) const;
  std::shared_ptr<AutoencoderKL> load_vae(at::ScalarType dtype) const;
  std::shared_ptr<ClipTextModel> load_text_encoder(at::ScalarType dtype) const;
  ClipTokenizer load_tokenizer() const;
  SchedulerConfig scheduler() const;
  // XXH3-128 over the weights and configurations that decide a trajectory (unet, vae, text encoder, scheduler).
  std::string digest() const;

 private:
  std::string path_;
};

// Copies tensors into a module's parameters by name, cast to the parameter's dtype. Rules as above.
void load_parameters(torch::nn::Module& module, const TensorMap& tensors, const std::string& source);
// Reads <folder>/config.json and the safetensors file of one component.
TensorMap load_component_tensors(const std::string& folder, const std::string& base_name);
// All parameters of a module by name (no copies).
TensorMap named_tensors(const torch::nn::Module& module);

}  // namespace nabla
