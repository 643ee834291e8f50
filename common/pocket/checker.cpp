#include "common/pocket/checker.h"

#include "common/diffusion/layers.h"
#include "common/diffusion/model_folder.h"
#include "common/error.h"

#include <torch/types.h>

namespace nabla::pocket {

namespace {

constexpr double kNormEpsilon = 1e-5, kNormMomentum = 0.1;
constexpr std::int64_t kFeatureGrid = 4;
constexpr std::int64_t kWidths[] = {24, 48, 96, 96};

class BatchNorm2d : public torch::nn::Module {
 public:
  explicit BatchNorm2d(std::int64_t channels) {
    weight_ = register_parameter("weight", at::ones({channels}));
    bias_ = register_parameter("bias", at::zeros({channels}));
    running_mean_ = register_buffer("running_mean", at::zeros({channels}));
    running_var_ = register_buffer("running_var", at::ones({channels}));
  }
  Tensor forward(const Tensor& x) const {
    return at::batch_norm(x, weight_, bias_, running_mean_, running_var_, is_training(), kNormMomentum, kNormEpsilon, false);
  }

 private:
  Tensor weight_, bias_, running_mean_, running_var_;
};

}  // namespace

struct Checker::Layers {
  std::shared_ptr<Conv2d> conv[4];
  std::shared_ptr<BatchNorm2d> norm[4];
  std::shared_ptr<LoraLinear> shape, color, count;
};

Checker::Checker() : layers_(std::make_unique<Layers>()) {
  std::int64_t channels = 3;
  for (std::size_t i = 0; i < std::size(kWidths); ++i) {
    const Conv2d::Options options{.kernel = i == 0 ? 5 : 3, .stride = 1, .padding = i == 0 ? 2 : 1, .bias = false};
    layers_->conv[i] = register_module("conv" + std::to_string(i + 1), std::make_shared<Conv2d>(channels, kWidths[i], options));
    layers_->norm[i] = register_module("norm" + std::to_string(i + 1), std::make_shared<BatchNorm2d>(kWidths[i]));
    channels = kWidths[i];
  }
  const auto head = [&](const char* name, std::size_t classes) {
    return register_module(name, std::make_shared<LoraLinear>(2 * channels, static_cast<std::int64_t>(classes), true));
  };
  layers_->shape = head("shape", kShapes.size());
  layers_->color = head("color", kColors.size());
  layers_->count = head("count", kMaxCount);
}

Checker::~Checker() = default;

Checker::Logits Checker::forward(const Tensor& images) {
  Tensor x = images * 2.0 - 1.0;
  for (std::size_t i = 0; i < std::size(kWidths); ++i) {
    x = at::relu(layers_->norm[i]->forward(layers_->conv[i]->forward(x)));
    if (i < 2) x = at::max_pool2d(x, {2, 2});  // 32 -> 16 -> 8
  }
  // How much of a pattern there is and how clear it is.
  const Tensor pooled = at::cat({x.mean({2, 3}), x.amax({2, 3})}, 1);
  return {layers_->shape->forward(pooled), layers_->color->forward(pooled), layers_->count->forward(pooled), x};
}

Checker::Verdict Checker::judge(const Tensor& images) {
  const at::NoGradGuard no_grad;
  const bool was_training = is_training();
  eval();
  const Logits logits = forward(images);
  train(was_training);
  const Tensor features = at::adaptive_avg_pool2d(logits.activations, {kFeatureGrid, kFeatureGrid}).flatten(1);
  return {logits.shape.argmax(1), logits.color.argmax(1), logits.count.argmax(1), features};
}

void Checker::save(const std::string& file, std::map<std::string, std::string> metadata) const {
  TensorMap tensors = named_tensors(*this);
  for (const auto& buffer : named_buffers()) tensors[buffer.key()] = buffer.value();
  save_tensors(file, tensors, std::move(metadata));
}

std::shared_ptr<Checker> Checker::load(const std::string& file) {
  const at::NoGradGuard no_grad;
  auto checker = std::make_shared<Checker>();
  TensorMap tensors = load_tensors(file);
  for (auto& buffer : checker->named_buffers()) {
    const auto found = tensors.find(buffer.key());
    if (found == tensors.end() || found->second.sizes() != buffer.value().sizes()) {
      throw data_error("[checker] {}: tensor '{}' of shape {} is missing or has another shape", file, buffer.key(),
                       shape_string(buffer.value()));
    }
    buffer.value().copy_(found->second);
    tensors.erase(found);
  }
  load_parameters(*checker, tensors, file);
  for (auto& parameter : checker->parameters()) parameter.requires_grad_(false);
  checker->eval();
  return checker;
}

}  // namespace nabla::pocket
