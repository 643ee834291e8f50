#include "common/diffusion/attention.h"

#include "common/device/geglu.h"

#include <ATen/Context.h>
#include <torch/types.h>

namespace nabla {

namespace {

constexpr double kTransformerGroupNormEps = 1e-6;
constexpr double kTransformerLayerNormEps = 1e-5;

// GEGLU's first half: proj [., 2 * inner], then h * gelu(gate).
class GegluProjection : public torch::nn::Module {
 public:
  GegluProjection(std::int64_t width, std::int64_t inner) {
    proj_ = register_module("proj", std::make_shared<LoraLinear>(width, 2 * inner, true));
  }
  Tensor forward(const Tensor& x) const { return gated_linear_unit(proj_->forward(x), Gate::kGelu); }

 private:
  std::shared_ptr<LoraLinear> proj_;
};

// Registered as net.0.proj and net.2; net.1 is a dropout that is never on.
class FeedForward : public torch::nn::Module {
 public:
  explicit FeedForward(std::int64_t width) {
    auto net = std::make_shared<torch::nn::Module>();
    projection_ = net->register_module("0", std::make_shared<GegluProjection>(width, 4 * width));
    output_ = net->register_module("2", std::make_shared<LoraLinear>(4 * width, width, true));
    register_module("net", net);
  }
  Tensor forward(const Tensor& x) const { return output_->forward(projection_->forward(x)); }

 private:
  std::shared_ptr<GegluProjection> projection_;
  std::shared_ptr<LoraLinear> output_;
};

}  // namespace

TwiceDifferentiableAttention::TwiceDifferentiableAttention()
    : flash_(at::globalContext().userEnabledFlashSDP()),
      memory_efficient_(at::globalContext().userEnabledMemEfficientSDP()),
      cudnn_(at::globalContext().userEnabledCuDNNSDP()) {
  at::globalContext().setSDPUseFlash(false);
  at::globalContext().setSDPUseMemEfficient(false);
  at::globalContext().setSDPUseCuDNN(false);
}

TwiceDifferentiableAttention::~TwiceDifferentiableAttention() {
  at::globalContext().setSDPUseFlash(flash_);
  at::globalContext().setSDPUseMemEfficient(memory_efficient_);
  at::globalContext().setSDPUseCuDNN(cudnn_);
}

Attention::Attention(std::int64_t query_width, std::int64_t context_width, std::int64_t heads, bool projection_bias) : heads_(heads) {
  to_q_ = register_module("to_q", std::make_shared<LoraLinear>(query_width, query_width, projection_bias));
  to_k_ = register_module("to_k", std::make_shared<LoraLinear>(context_width, query_width, projection_bias));
  to_v_ = register_module("to_v", std::make_shared<LoraLinear>(context_width, query_width, projection_bias));
  to_out_ = register_module("to_out", std::make_shared<ModuleSeries<LoraLinear>>());
  to_out_->append(std::make_shared<LoraLinear>(query_width, query_width, true));
}

Tensor Attention::forward(const Tensor& x, const Tensor& context) const {
  const Tensor query = split_heads(to_q_->forward(x), heads_);
  const Tensor key = split_heads(to_k_->forward(context), heads_);
  const Tensor value = split_heads(to_v_->forward(context), heads_);
  return (*to_out_)[0].forward(merge_heads(attend(query, key, value)));
}

VaeAttention::VaeAttention(std::int64_t channels, std::int64_t num_groups, double eps) {
  group_norm_ = register_module("group_norm", std::make_shared<GroupNorm>(num_groups, channels, eps));
  to_q_ = register_module("to_q", std::make_shared<LoraLinear>(channels, channels, true));
  to_k_ = register_module("to_k", std::make_shared<LoraLinear>(channels, channels, true));
  to_v_ = register_module("to_v", std::make_shared<LoraLinear>(channels, channels, true));
  to_out_ = register_module("to_out", std::make_shared<ModuleSeries<LoraLinear>>());
  to_out_->append(std::make_shared<LoraLinear>(channels, channels, true));
}

Tensor VaeAttention::forward(const Tensor& x) const {
  const Tensor pixels = group_norm_->forward(x).flatten(2).transpose(1, 2);
  const Tensor query = split_heads(to_q_->forward(pixels), 1);
  const Tensor key = split_heads(to_k_->forward(pixels), 1);
  const Tensor value = split_heads(to_v_->forward(pixels), 1);
  const Tensor attended = (*to_out_)[0].forward(merge_heads(attend(query, key, value)));
  return attended.transpose(1, 2).reshape_as(x) + x;
}

class Transformer2DModel::Block : public torch::nn::Module {
 public:
  Block(std::int64_t width, std::int64_t heads, std::int64_t context_width) {
    norm1_ = register_module("norm1", std::make_shared<LayerNorm>(width, kTransformerLayerNormEps));
    attn1_ = register_module("attn1", std::make_shared<Attention>(width, width, heads, false));
    norm2_ = register_module("norm2", std::make_shared<LayerNorm>(width, kTransformerLayerNormEps));
    attn2_ = register_module("attn2", std::make_shared<Attention>(width, context_width, heads, false));
    norm3_ = register_module("norm3", std::make_shared<LayerNorm>(width, kTransformerLayerNormEps));
    ff_ = register_module("ff", std::make_shared<FeedForward>(width));
  }
  Tensor forward(const Tensor& input, const Tensor& context) const {
    const Tensor normed = norm1_->forward(input);
    const Tensor attended = repeat_rows(input + attn1_->forward(normed, normed), context.size(0));
    const Tensor crossed = attended + attn2_->forward(norm2_->forward(attended), context);
    return crossed + ff_->forward(norm3_->forward(crossed));
  }

 private:
  std::shared_ptr<LayerNorm> norm1_, norm2_, norm3_;
  std::shared_ptr<Attention> attn1_, attn2_;
  std::shared_ptr<FeedForward> ff_;
};

Transformer2DModel::Transformer2DModel(std::int64_t channels, std::int64_t heads, std::int64_t context_width, std::int64_t num_groups) {
  const Conv2d::Options pointwise{.kernel = 1, .padding = 0};
  norm_ = register_module("norm", std::make_shared<GroupNorm>(num_groups, channels, kTransformerGroupNormEps));
  proj_in_ = register_module("proj_in", std::make_shared<Conv2d>(channels, channels, pointwise));
  transformer_blocks_ = register_module("transformer_blocks", std::make_shared<ModuleSeries<Block>>());
  transformer_blocks_->append(std::make_shared<Block>(channels, heads, context_width));
  proj_out_ = register_module("proj_out", std::make_shared<Conv2d>(channels, channels, pointwise));
}

Tensor Transformer2DModel::forward(const Tensor& x, const Tensor& context) const {
  const Tensor tokens = proj_in_->forward(norm_->forward(x)).flatten(2).transpose(1, 2);
  const Tensor out = (*transformer_blocks_)[0].forward(tokens.contiguous(), context);
  const Tensor residual = repeat_rows(x, context.size(0));
  return proj_out_->forward(out.transpose(1, 2).reshape_as(residual)) + residual;
}

}  // namespace nabla
