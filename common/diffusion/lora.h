#pragma once

#include "common/diffusion/lora_layer.h"
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

// The LoRA of one network: which layers carry one, in sorted order of their names. The network must outlive it.
class LoraAdapter {
 public:
  // Puts a fresh adapter on every layer whose name ends with a target: A ~ N(0, 1/r^2) from the seed, B = 0.
  // usage_error if a target matches nothing.
  static LoraAdapter create(torch::nn::Module& network, const LoraConfig& config, std::uint64_t seed);
  // Puts exactly the adapters of a file (read_lora_file) on the network, each with its own rank; `scale` multiplies all of them.
  static LoraAdapter attach(torch::nn::Module& network, const TensorMap& tensors, double scale);

  void set_mode(WeightMode mode);
  // Tensors by "<module>.lora_A.weight" [r,in] and "<module>.lora_B.weight" [out,r] (of a convolution [r,in,k,k] and [out,r,1,1]), float32 (float64 in a
  // float64 network): the module's own, not copies.
  TensorMap tensors() const;
  // Copies into the module and re-merges. data_error on missing, extra or badly shaped tensors.
  void load(const TensorMap& tensors);
  // "<module>.weight" of every target with the adapter merged in, in the network's dtype. Merges again: an optimiser may have stepped.
  TensorMap merged_weights() const;
  std::vector<Tensor> parameters() const;  // in the order of tensors()
  void require_grad(bool on);
  double scale() const { return config_.alpha / static_cast<double>(config_.rank); }
  // After attach() its rank is the largest of the adapters'.
  const LoraConfig& config() const { return config_; }

 private:
  struct Target {
    std::string name;
    LoraLayer* layer;
  };
  std::vector<Target> targets_;
  LoraConfig config_;
};

// The layers of a network that can carry an adapter, by name.
std::map<std::string, LoraLayer*> lora_layers(torch::nn::Module& network);

// Reads any dialect (P peft-in-diffusers, D diffusers, O old diffusers, K kohya; modules under diffusers' or LDM's names) into "<module>.lora_A.weight" /
// ".lora_B.weight", float32, with the scale alpha/r folded into B where it differs from 1. data_error naming the file and the key that belongs to no layer of
// the network.
TensorMap read_lora_file(const std::string& path, torch::nn::Module& network);
// Dialect D for diffusers and peft, float32, the scale folded into B: diffusers takes alpha = rank.
void write_lora_diffusers(const std::string& path, const LoraAdapter& adapter);
// Dialect K for ComfyUI and A1111, float16, with alpha tensors and metadata. `metadata` adds to the standard keys and wins over them.
void write_lora_kohya(const std::string& path, const LoraAdapter& adapter, const std::map<std::string, std::string>& metadata);

}  // namespace nabla
