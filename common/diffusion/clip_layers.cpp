#include "common/diffusion/clip_layers.h"

#include <torch/types.h>

namespace nabla {

namespace {

// transformers' CLIPAttention: biased projections; what is computed is attend().
class ClipAttention : public torch::nn::Module {
 public:
  ClipAttention(std::int64_t width, std::int64_t heads) : heads_(heads) {
    q_proj_ = register_module("q_proj", std::make_shared<LoraLinear>(width, width, true));
    k_proj_ = register_module("k_proj", std::make_shared<LoraLinear>(width, width, true));
    v_proj_ = register_module("v_proj", std::make_shared<LoraLinear>(width, width, true));
    out_proj_ = register_module("out_proj", std::make_shared<LoraLinear>(width, width, true));
  }
  Tensor forward(const Tensor& x, bool causal) const {
    const Tensor query = split_heads(q_proj_->forward(x), heads_);
    const Tensor key = split_heads(k_proj_->forward(x), heads_);
    const Tensor value = split_heads(v_proj_->forward(x), heads_);
    return out_proj_->forward(merge_heads(attend(query, key, value, causal ? AttentionMask::kCausal : AttentionMask::kNone)));
  }

 private:
  std::int64_t heads_;
  std::shared_ptr<LoraLinear> q_proj_, k_proj_, v_proj_, out_proj_;
};

class ClipMlp : public torch::nn::Module {
 public:
  ClipMlp(std::int64_t width, std::int64_t inner_width, bool quick_gelu) : quick_gelu_(quick_gelu) {
    fc1_ = register_module("fc1", std::make_shared<LoraLinear>(width, inner_width, true));
    fc2_ = register_module("fc2", std::make_shared<LoraLinear>(inner_width, width, true));
  }
  Tensor forward(const Tensor& x) const {
    const Tensor hidden = fc1_->forward(x);
    return fc2_->forward(quick_gelu_ ? hidden * at::sigmoid(1.702 * hidden) : at::gelu(hidden));
  }

 private:
  bool quick_gelu_;
  std::shared_ptr<LoraLinear> fc1_, fc2_;
};

}  // namespace

class ClipEncoder::Layer : public torch::nn::Module {
 public:
  explicit Layer(const ClipLayerShape& shape) {
    self_attn_ = register_module("self_attn", std::make_shared<ClipAttention>(shape.width, shape.heads));
    layer_norm1_ = register_module("layer_norm1", std::make_shared<LayerNorm>(shape.width, shape.eps));
    mlp_ = register_module("mlp", std::make_shared<ClipMlp>(shape.width, shape.inner_width, shape.activation == "quick_gelu"));
    layer_norm2_ = register_module("layer_norm2", std::make_shared<LayerNorm>(shape.width, shape.eps));
  }
  Tensor forward(const Tensor& input, bool causal) const {
    const Tensor attended = input + self_attn_->forward(layer_norm1_->forward(input), causal);
    return attended + mlp_->forward(layer_norm2_->forward(attended));
  }

 private:
  std::shared_ptr<ClipAttention> self_attn_;
  std::shared_ptr<LayerNorm> layer_norm1_, layer_norm2_;
  std::shared_ptr<ClipMlp> mlp_;
};

ClipEncoder::ClipEncoder(const ClipLayerShape& shape) {
  layers_ = register_module("layers", std::make_shared<ModuleSeries<Layer>>());
  for (std::int64_t i = 0; i < shape.count; ++i) layers_->append(std::make_shared<Layer>(shape));
}

ClipEncoder::~ClipEncoder() = default;

Tensor ClipEncoder::forward(Tensor x, bool causal) const {
  for (std::size_t i = 0; i < layers_->size(); ++i) x = (*layers_)[i].forward(x, causal);
  return x;
}

}  // namespace nabla
