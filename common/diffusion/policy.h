#pragma once

#include "common/diffusion/lora.h"
#include "common/diffusion/placement.h"
#include "common/diffusion/unet.h"

#include <cstdint>
#include <memory>
#include <string>

namespace nabla {

// Prompt embeddings of a batch and of the empty prompt.
struct Conditioning {
  Tensor prompt_embeds;    // [N,L,D]
  Tensor negative_embeds;  // [1,L,D]
};

// The denoiser with its LoRA and guidance: eps = eps_u + w (eps_c - eps_u) in float32; one batch of 2N ordered [negative; prompt], and no
// second half when the scale is 1. One thread at a time.
class Policy {
 public:
  Policy(std::shared_ptr<UNet2DConditionModel> unet, const LoraConfig& config, double guidance_scale, std::uint64_t lora_seed);
  // With an adapter that is already on the network.
  Policy(std::shared_ptr<UNet2DConditionModel> unet, LoraAdapter lora, double guidance_scale);

  // x [N,C,h,w], timestep [N] int64 (a value a row) -> guided prediction [N,C,h,w] on the network's device, float32, float64 from a float64 network; inputs are
  // brought into the network's type at its door. Gradients flow to x
  // (all modes) and to the LoRA (kAdapter). The batch of embeddings is kept while the same tensors come again, so they must not be written to.
  Tensor predict(WeightMode mode, const Tensor& x, const Tensor& timestep, const Conditioning& conditioning);

  // Copies LoRA tensors in and merges them; from then on kMerged samples with them.
  void load(const TensorMap& lora);
  // Digest of the LoRA tensors read back from the modules that compute (never of what was received).
  std::string digest() const;
  LoraAdapter& lora() { return lora_; }
  UNet2DConditionModel& unet() { return *unet_; }
  double guidance_scale() const { return guidance_scale_; }
  at::ScalarType network_dtype() const { return placement_.dtype; }
  at::Device device() const { return placement_.device; }

  // Network evaluations since the start, for the cost report, in rows that are guided: calls of predict(), and vector-Jacobian products through what it
  // returned, which the graph itself counts whenever it is differentiated.
  struct Counters {
    std::int64_t forwards = 0, backwards = 0;
  };

 private:
  std::shared_ptr<Counters> counted_ = std::make_shared<Counters>();  // graphs that outlive the policy still count

 public:
  Counters& counters = *counted_;

 private:
  // Holding the tensors keeps them from being mistaken for later ones at the same place.
  struct BatchEmbeds {
    Tensor prompt, negative;
    Tensor batch;  // [2N,L,D], in the network's dtype
  };
  Tensor batch_embeds(const Conditioning& conditioning, const Tensor& input);
  Tensor evaluate(const Tensor& x, const Tensor& timestep, const Conditioning& conditioning);

  std::shared_ptr<UNet2DConditionModel> unet_;
  LoraAdapter lora_;
  double guidance_scale_;
  Placement placement_;
  BatchEmbeds embeds_;
};

}  // namespace nabla
