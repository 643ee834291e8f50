#include "common/diffusion/policy.h"
#include "tests/common/error_check.h"
#include "tests/diffusion/tiny_unet.h"

#include <torch/csrc/autograd/autograd.h>

using namespace nabla;

namespace {

constexpr std::int64_t kRows = 3;

Tensor draw(std::vector<std::int64_t> shape, std::uint64_t index) {
  return normal_tensor(std::move(shape), Philox(4, RandomPurpose::kEvaluationNoise, index));
}

struct Scene {
  std::shared_ptr<UNet2DConditionModel> unet = tiny_unet();
  Tensor x = draw({kRows, 4, 6, 8}, 1);
  Tensor timestep = torch::tensor({981, 301, 1}, at::kLong);
  Conditioning conditioning{draw({kRows, 5, 6}, 2), draw({1, 5, 6}, 3)};

  Policy policy(double guidance) const { return {unet, LoraConfig{.rank = 2, .alpha = 3.0}, guidance, 1}; }
  Tensor plain(const Tensor& embeds) const { return unet->forward(x, timestep, embeds.expand({kRows, -1, -1})); }
};

// Values in both matrices of every adapter.
TensorMap some_lora(Policy& policy) {
  TensorMap tensors;
  std::uint64_t index = 10;
  for (const auto& [name, tensor] : policy.lora().tensors()) tensors[name] = 0.3 * draw(tensor.sizes().vec(), index++);
  return tensors;
}

}  // namespace

TEST_CASE("guidance combines the predictions with and without the prompt, a timestep a row") {
  const Scene scene;
  Policy policy = scene.policy(5.0);
  const Tensor guided = policy.predict(WeightMode::kBase, scene.x, scene.timestep, scene.conditioning);
  const Tensor with = scene.plain(scene.conditioning.prompt_embeds), without = scene.plain(scene.conditioning.negative_embeds);
  CHECK(relative_error(guided, without + 5.0 * (with - without)) < 1e-5);
}

TEST_CASE("guidance 1 is one conditional prediction") {
  const Scene scene;
  Policy policy = scene.policy(1.0);
  const Tensor prediction = policy.predict(WeightMode::kBase, scene.x, scene.timestep, scene.conditioning);
  CHECK(prediction.equal(scene.plain(scene.conditioning.prompt_embeds)));
}

TEST_CASE("rows do not depend on what stands beside them") {
  const Scene scene;
  Policy policy = scene.policy(3.0);
  const Tensor all = policy.predict(WeightMode::kBase, scene.x, scene.timestep, scene.conditioning);
  for (std::int64_t i = 0; i < kRows; ++i) {
    const Conditioning one{scene.conditioning.prompt_embeds.narrow(0, i, 1), scene.conditioning.negative_embeds};
    const Tensor row = policy.predict(WeightMode::kBase, scene.x.narrow(0, i, 1), scene.timestep.narrow(0, i, 1), one);
    CHECK(relative_error(row, all.narrow(0, i, 1)) < 1e-5);
  }
}

TEST_CASE("the kept embeddings follow the conditioning that is given") {
  const Scene scene;
  Policy policy = scene.policy(5.0);
  const auto predict = [&](const Conditioning& conditioning) {
    return policy.predict(WeightMode::kBase, scene.x, scene.timestep, conditioning);
  };
  const Tensor first = predict(scene.conditioning);
  CHECK(predict(scene.conditioning).equal(first));
  const Conditioning other{draw({kRows, 5, 6}, 8), scene.conditioning.negative_embeds},
      third{scene.conditioning.prompt_embeds, draw({1, 5, 6}, 9)};
  const Tensor second = predict(other);
  CHECK_FALSE(second.equal(first));
  CHECK(second.equal(Scene().policy(5.0).predict(WeightMode::kBase, scene.x, scene.timestep, other)));
  CHECK_FALSE(predict(third).equal(first));
  CHECK(predict(scene.conditioning).equal(first));
}

TEST_CASE("embeddings with a graph are not kept, so a second backward pass works") {
  const Scene scene;
  Policy policy = scene.policy(5.0);
  const Tensor leaf = scene.conditioning.prompt_embeds.clone().requires_grad_(true);
  const Conditioning conditioning{leaf * 1.0, scene.conditioning.negative_embeds};
  for (int pass = 0; pass < 2; ++pass) {
    const Tensor loss = policy.predict(WeightMode::kBase, scene.x, scene.timestep, conditioning).square().sum();
    CHECK(torch::autograd::grad({loss}, {leaf}, {}, true)[0].norm().item<double>() > 0.0);
  }
}

TEST_CASE("merged weights and adapter give one prediction, the base another") {
  const Scene scene;
  Policy policy = scene.policy(5.0);
  policy.load(some_lora(policy));
  const auto predict = [&](WeightMode mode) { return policy.predict(mode, scene.x, scene.timestep, scene.conditioning); };
  const Tensor merged = predict(WeightMode::kMerged);
  CHECK(relative_error(predict(WeightMode::kAdapter), merged) < 1e-5);
  CHECK(relative_error(predict(WeightMode::kBase), merged) > 1e-2);
}

TEST_CASE("gradients reach the latents in every mode and the LoRA in the adapter mode alone") {
  const Scene scene;
  Policy policy = scene.policy(5.0);
  policy.load(some_lora(policy));
  policy.lora().require_grad(true);
  for (const WeightMode mode : {WeightMode::kBase, WeightMode::kMerged, WeightMode::kAdapter}) {
    const Tensor x = scene.x.clone().requires_grad_(true);
    const Tensor loss = policy.predict(mode, x, scene.timestep, scene.conditioning).square().sum();
    std::vector<Tensor> inputs = policy.lora().parameters();
    inputs.push_back(x);
    const auto gradients = torch::autograd::grad({loss}, inputs, {}, false, false, true);
    CHECK(gradients.back().norm().item<double>() > 0.0);
    CHECK(gradients.front().defined() == (mode == WeightMode::kAdapter));
  }
}

TEST_CASE("the digest is read back from the modules") {
  const Scene scene, other;
  Policy policy = scene.policy(5.0), fresh = other.policy(5.0);
  CHECK(policy.digest() == fresh.digest());
  const TensorMap lora = some_lora(policy);
  policy.load(lora);
  CHECK(policy.digest() == digest_of(lora));
  CHECK(policy.digest() != fresh.digest());
  const at::NoGradGuard no_grad;
  policy.lora().parameters()[0].add_(1.0);
  CHECK(policy.digest() != digest_of(lora));
}

TEST_CASE("forwards are counted in guided rows") {
  const Scene scene;
  Policy policy = scene.policy(5.0);
  policy.predict(WeightMode::kBase, scene.x, scene.timestep, scene.conditioning);
  policy.predict(WeightMode::kMerged, scene.x, scene.timestep, scene.conditioning);
  CHECK(policy.counters.forwards == 2 * kRows);
  CHECK(policy.counters.backwards == 0);
}

TEST_CASE("backwards are counted as often as a prediction is differentiated, also where nobody but autograd knows of it") {
  const Scene scene;
  Policy policy = scene.policy(5.0);
  const Tensor x = scene.x.clone().requires_grad_(true);
  const auto predict = [&] { return policy.predict(WeightMode::kBase, x, scene.timestep, scene.conditioning); };
  const Tensor once = predict(), twice = predict(), never = predict();
  CHECK(policy.counters.backwards == 0);
  (once.square() + once).sum().backward();
  CHECK(policy.counters.backwards == kRows);
  for (const bool keep : {true, false}) torch::autograd::grad({twice.sum()}, {x}, {}, keep);
  CHECK(policy.counters.backwards == 3 * kRows);
  // A policy that moved still counts for its graphs.
  const Policy moved = std::move(policy);
  never.sum().backward();
  CHECK(moved.counters.backwards == 4 * kRows);
}

TEST_CASE("a network in bfloat16 is guided in float32") {
  const Scene scene;
  Policy exact = scene.policy(5.0), rough(tiny_unet(at::kBFloat16), LoraConfig{.rank = 2, .alpha = 3.0}, 5.0, 1);
  const Tensor prediction = rough.predict(WeightMode::kMerged, scene.x, scene.timestep, scene.conditioning);
  CHECK((prediction.scalar_type() == at::kFloat));
  CHECK(relative_error(prediction, exact.predict(WeightMode::kMerged, scene.x, scene.timestep, scene.conditioning)) < 0.2);
  CHECK((rough.lora().parameters()[0].scalar_type() == at::kFloat));
}

TEST_CASE("rows that do not belong together are refused") {
  const Scene scene;
  Policy policy = scene.policy(5.0);
  check_error(
      ExitCode::kFailure, [&] { policy.predict(WeightMode::kBase, scene.x, scene.timestep.narrow(0, 0, 1), scene.conditioning); }, "[1]");
  const Conditioning one{scene.conditioning.prompt_embeds.narrow(0, 0, 1), scene.conditioning.negative_embeds};
  check_error(
      ExitCode::kFailure, [&] { policy.predict(WeightMode::kBase, scene.x, scene.timestep, one); }, "[1, 5, 6]");
}
