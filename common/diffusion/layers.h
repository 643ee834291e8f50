#pragma once

#include "common/diffusion/linear.h"

#include <torch/nn/module.h>

#include <memory>
#include <string>

namespace nabla {

// Plain layers with the parameter names "weight" and "bias". Constructors leave the values unset: a model is loaded or initialised.

// Can carry a LoRA. Holds its weight in channels-last memory and keeps pictures in it: on the CPU twice as fast at 32 channels as contiguous memory, and what
// tensor cores want. Transformers read channels-last pictures as tokens without a copy.
class Conv2d : public torch::nn::Module, public LoraLayer {
 public:
  struct Options {
    std::int64_t kernel = 3, stride = 1, padding = 1;
    bool bias = true;
  };
  Conv2d(std::int64_t in_channels, std::int64_t out_channels, const Options& options);
  Tensor forward(const Tensor& x) const;  // [N,in,H,W] -> [N,out,H',W']
  const Tensor& base_weight() const override { return weight; }
  Tensor weight, bias;

 private:
  Tensor convolve(const Tensor& x, const Tensor& kernel, const Tensor& offset) const;

  Options options_;
};

class GroupNorm : public torch::nn::Module {
 public:
  GroupNorm(std::int64_t num_groups, std::int64_t channels, double eps);
  Tensor forward(const Tensor& x) const;    // [N,C,...]
  Tensor activated(const Tensor& x) const;  // silu(forward(x)); the graph keeps x alone
  Tensor weight, bias;

 private:
  std::int64_t num_groups_;
  double eps_;
};

class LayerNorm : public torch::nn::Module {
 public:
  LayerNorm(std::int64_t width, double eps);
  Tensor forward(const Tensor& x) const;  // [..., width]
  Tensor weight, bias;

 private:
  double eps_;
};

class Embedding : public torch::nn::Module {
 public:
  Embedding(std::int64_t count, std::int64_t width);
  Tensor forward(const Tensor& ids) const;  // int64 [...] -> [..., width]
  Tensor weight;
};

// A numbered list of modules, registered as "0", "1", ...
template <class M>
class ModuleSeries : public torch::nn::Module {
 public:
  void append(std::shared_ptr<M> module) { items_.push_back(register_module(std::to_string(items_.size()), std::move(module))); }
  std::size_t size() const { return items_.size(); }
  M& operator[](std::size_t i) const { return *items_[i]; }

 private:
  std::vector<std::shared_ptr<M>> items_;
};

// x [N,T,heads*d] -> [N,heads,T,d], and back.
Tensor split_heads(const Tensor& x, std::int64_t heads);
Tensor merge_heads(const Tensor& x);

// softmax(query key^T / sqrt(d)) value, [N,heads,T,d], by the device's fused kernel. Shapes alone, on the meta device, take the memory of the CPU's.
enum class AttentionMask { kNone, kCausal };
Tensor attend(const Tensor& query, const Tensor& key, const Tensor& value, AttentionMask mask = AttentionMask::kNone);

// x [N,...] for a batch of `rows` = N or 2N contexts, whose halves see the same N rows -> [rows,...].
Tensor repeat_rows(const Tensor& x, std::int64_t rows);

}  // namespace nabla
