#include "common/diffusion/checkpoint.h"
#include "common/diffusion/initialization.h"
#include "common/diffusion/policy.h"
#include "common/diffusion/resnet_block.h"
#include "tests/bench/tensor_memory.h"
#include "tests/diffusion/tiny_unet.h"

#include <torch/csrc/autograd/autograd.h>

using namespace nabla;

namespace {

Tensor draw(std::vector<std::int64_t> shape, std::uint64_t index) {
  return normal_tensor(std::move(shape), Philox(4, RandomPurpose::kEvaluationNoise, index));
}

struct Scene {
  explicit Scene(Activations activations) {
    unet->set_activations(activations);
    TensorMap lora;
    std::uint64_t index = 10;
    for (const auto& [name, tensor] : policy.lora().tensors()) lora[name] = 0.3 * draw(tensor.sizes().vec(), index++);
    policy.load(lora);
    policy.lora().require_grad(true);
  }
  Tensor predict(WeightMode mode) { return policy.predict(mode, x, timestep, conditioning); }
  std::vector<Tensor> lora_gradients() {
    std::vector<Tensor> gradients;
    for (const auto& parameter : policy.lora().parameters()) gradients.push_back(parameter.grad());
    return gradients;
  }

  std::shared_ptr<UNet2DConditionModel> unet = tiny_unet();
  Policy policy{unet, LoraConfig{.rank = 2, .alpha = 3.0}, 5.0, 1};
  Tensor x = draw({3, 4, 6, 8}, 1).requires_grad_(true);
  Tensor timestep = torch::tensor({981, 301, 1}, at::kLong);
  Conditioning conditioning{draw({3, 5, 6}, 2), draw({1, 5, 6}, 3)};
};

}  // namespace

// float32: the layers' shares of a gradient are added up in another order.
constexpr double kRounding = 1e-5;

TEST_CASE("recomputed activations give the gradients that kept ones give") {
  Scene kept(Activations::kKept), recomputed(Activations::kRecomputed);
  for (Scene* scene : {&kept, &recomputed}) scene->predict(WeightMode::kAdapter).square().sum().backward();
  CHECK(relative_error(recomputed.x.grad(), kept.x.grad()) < kRounding);
  const auto ours = recomputed.lora_gradients(), plain = kept.lora_gradients();
  REQUIRE(ours.size() == plain.size());
  for (std::size_t i = 0; i < ours.size(); ++i) CHECK(relative_error(ours[i], plain[i]) < kRounding);
}

TEST_CASE("adapters get their gradients where the latents want none") {
  Scene kept(Activations::kKept), recomputed(Activations::kRecomputed);
  for (Scene* scene : {&kept, &recomputed}) {
    scene->x = scene->x.detach();
    scene->predict(WeightMode::kAdapter).square().sum().backward();
  }
  const auto ours = recomputed.lora_gradients(), plain = kept.lora_gradients();
  for (std::size_t i = 0; i < ours.size(); ++i) CHECK(relative_error(ours[i], plain[i]) < kRounding);
}

TEST_CASE("a gradient is that of the mode in which the prediction was made, whatever came between") {
  Scene kept(Activations::kKept), recomputed(Activations::kRecomputed);
  const auto gradient = [](Scene& scene) {
    const Tensor base = scene.predict(WeightMode::kBase);
    const at::NoGradGuard no_grad;
    scene.predict(WeightMode::kMerged);
    return torch::autograd::grad({base}, {scene.x}, {at::ones_like(base)})[0];
  };
  CHECK(relative_error(gradient(recomputed), gradient(kept)) < 1e-6);
}

TEST_CASE("recomputation keeps less and is told that it cannot be differentiated twice") {
  const auto kept_bytes = [](Activations activations) {
    Scene scene(activations);
    const TensorMemory memory;
    const Tensor prediction = scene.predict(WeightMode::kAdapter);
    return memory.live_bytes();
  };
  const auto plain = kept_bytes(Activations::kKept), lean = kept_bytes(Activations::kRecomputed);
  MESSAGE("graph of a tiny U-Net: " << plain << " bytes, with recomputation " << lean);
  CHECK(static_cast<double>(lean) < 0.6 * static_cast<double>(plain));
  Scene scene(Activations::kRecomputed);
  CHECK_THROWS_WITH(torch::autograd::grad({scene.predict(WeightMode::kAdapter).sum()}, {scene.x}, {}, true, true),
                    doctest::Contains("cannot be differentiated again"));
}

TEST_CASE("a residual block's graph keeps at most 55% of what plain operators keep") {
  ResnetBlock2D block(32, 32, 8, 1e-5, std::nullopt);
  initialize_parameters(block, 1);
  for (auto& parameter : block.parameters()) parameter.requires_grad_(false);
  const TensorMap weights = named_tensors(block);
  const auto of = [&](const std::string& name) { return weights.at(name); };
  const auto half = [&](const Tensor& x, const std::string& norm, const std::string& conv) {
    const Tensor normed = at::group_norm(x, 8, of(norm + ".weight"), of(norm + ".bias"), 1e-5);
    return at::conv2d(at::silu(normed), of(conv + ".weight"), of(conv + ".bias"), {1, 1}, at::IntArrayRef{1, 1});
  };
  const Tensor leaf = draw({1, 32, 32, 32}, 5).contiguous(at::MemoryFormat::ChannelsLast).requires_grad_(true);
  Tensor ours, plain;
  const auto kept = [&](Tensor& y, auto forward) {
    const TensorMemory memory;
    y = forward(leaf * 1.0);
    return static_cast<double>(memory.live_bytes());
  };
  const double lean = kept(ours, [&](const Tensor& x) { return block.forward(x, {}); });
  const double eager = kept(plain, [&](const Tensor& x) { return x + half(half(x, "norm1", "conv1"), "norm2", "conv2"); });
  CHECK(relative_error(ours, plain) < 1e-6);
  MESSAGE("kept bytes, lean / plain: " << lean / eager);
  CHECK(lean <= 0.55 * eager);
}
