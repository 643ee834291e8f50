#pragma once

#include "common/diffusion/linear.h"
#include "common/diffusion/tensors.h"

#include <torch/nn/module.h>

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

struct LoraConfig {
  std::int64_t rank = 8;
  double alpha = 8.0;
  std::vector<std::string> target_modules{"to_q", "to_k", "to_v", "to_out.0"};
};

// The LoRA of one network: which linears carry one, in sorted order of their names. The network must outlive it.
class LoraAdapter {
 public:
  // Puts a fresh adapter on every linear whose name ends with a target: A ~ N(0, 1/r^2) from the seed, B = 0.
  // usage_error if a target matches nothing.
  static LoraAdapter create(torch::nn::Module& network, const LoraConfig& config, std::uint64_t seed);

  void set_mode(WeightMode mode);
  // Tensors by "<module>.lora_A.weight" [r,in] and "<module>.lora_B.weight" [out,r], float32: the module's own, not copies.
  TensorMap tensors() const;
  // Copies into the module and re-merges. data_error on missing, extra or badly shaped tensors.
  void load(const TensorMap& tensors);
  std::vector<Tensor> parameters() const;  // in the order of tensors()
  void require_grad(bool on);
  double scale() const { return config_.alpha / static_cast<double>(config_.rank); }
  const LoraConfig& config() const { return config_; }

 private:
  struct Target {
    std::string name;
    LoraLinear* linear;
  };
  std::vector<Target> targets_;
  LoraConfig config_;
};

// Reads any dialect (P peft-in-diffusers, D diffusers, O old diffusers, K kohya) into "<module>.lora_A.weight" / ".lora_B.weight" with the
// scale alpha/r folded into B where it differs from 1.
TensorMap read_lora_file(const std::string& path, const torch::nn::Module& network);
// Dialect D for diffusers and peft.
void write_lora_diffusers(const std::string& path, const LoraAdapter& adapter);
// Dialect K for ComfyUI and A1111, float16, with alpha tensors and metadata.
void write_lora_kohya(const std::string& path, const LoraAdapter& adapter, const std::map<std::string, std::string>& metadata);

}  // namespace nabla
