#include "common/diffusion/model_folder.h"
#include "common/diffusion/policy.h"
#include "common/error.h"
#include "tests/diffusion/small_model.h"
#include "tests/diffusion/tiny_unet.h"

using namespace nabla;

namespace {

constexpr std::int64_t kRows = 3;

Tensor draw(std::vector<std::int64_t> shape, std::uint64_t index) {
  return normal_tensor(std::move(shape), Philox(4, RandomPurpose::kEvaluationNoise, index));
}

// One input for networks of either type.
struct Scene {
  Tensor x = draw({kRows, 4, 6, 8}, 1);
  Tensor timestep = torch::tensor({981, 301, 1}, at::kLong);
  Conditioning conditioning{draw({kRows, 5, 6}, 2), draw({1, 5, 6}, 3)};

  // With values of a size in both matrices of every adapter.
  Policy policy(at::ScalarType type, double size) const {
    Policy policy(tiny_unet(type), LoraConfig{.rank = 2, .alpha = 3.0}, 5.0, 1);
    TensorMap lora;
    std::uint64_t index = 10;
    for (const auto& [name, tensor] : policy.lora().tensors()) lora[name] = size * draw(tensor.sizes().vec(), index++);
    policy.load(lora);
    return policy;
  }
  Tensor predict(Policy& policy, WeightMode mode) const {
    const at::NoGradGuard no_grad;
    return policy.predict(mode, x, timestep, conditioning);
  }
  Tensor change(Policy& policy, WeightMode mode) const { return predict(policy, mode) - predict(policy, WeightMode::kBase); }
};

}  // namespace

TEST_CASE("a bfloat16 network predicts what the float32 one does, rounded, and answers in float32") {
  const Scene scene;
  Policy exact = scene.policy(at::kFloat, 0.3), rounded = scene.policy(at::kBFloat16, 0.3);
  for (const WeightMode mode : {WeightMode::kBase, WeightMode::kMerged, WeightMode::kAdapter}) {
    const Tensor prediction = scene.predict(rounded, mode);
    CHECK((prediction.scalar_type() == at::kFloat));
    // A rounding is 2^-9, of every layer's output; guidance 5 multiplies what the halves do not have in common. The base network's is 0.058.
    CHECK(relative_error(prediction, scene.predict(exact, mode)) < 0.1);
  }
}

TEST_CASE("a bfloat16 network's adapter stays float32, in value, gradient and digest") {
  const Scene scene;
  Policy exact = scene.policy(at::kFloat, 0.3), rounded = scene.policy(at::kBFloat16, 0.3);
  CHECK(rounded.digest() == exact.digest());
  const auto gradients = [&](Policy& policy) {
    policy.lora().require_grad(true);
    policy.predict(WeightMode::kAdapter, scene.x, scene.timestep, scene.conditioning).square().sum().backward();
    std::vector<Tensor> parts;
    for (const auto& parameter : policy.lora().parameters()) {
      CHECK((parameter.scalar_type() == at::kFloat));
      CHECK((parameter.grad().scalar_type() == at::kFloat));
      parts.push_back(parameter.grad().flatten());
    }
    return at::cat(parts);
  };
  const Tensor ours = gradients(rounded);
  CHECK(relative_error(ours, gradients(exact)) < 0.1);
}

TEST_CASE("in bfloat16, actors and the learner compute the same function") {
  const Scene scene;
  Policy policy = scene.policy(at::kBFloat16, 0.3);
  CHECK(scene.predict(policy, WeightMode::kMerged).equal(scene.predict(policy, WeightMode::kAdapter)));
  CHECK(scene.change(policy, WeightMode::kAdapter).abs().max().item<float>() > 0.0F);
}

TEST_CASE("a merged bfloat16 weight would lose changes that the adapter keeps") {
  const Scene scene;
  // B A of 1e-4 beside weights of 0.1 to 1: below half of a bfloat16 weight's last digit.
  Policy policy = scene.policy(at::kBFloat16, 0.01);
  std::int64_t kept = 0, weights = 0;
  const TensorMap base = named_tensors(policy.unet());
  for (const auto& [name, merged] : policy.lora().merged_weights()) {
    kept += (merged != base.at(name)).sum().item<std::int64_t>();
    weights += merged.numel();
  }
  CHECK(static_cast<double>(kept) < 0.2 * static_cast<double>(weights));
}

TEST_CASE("with no change the policy's prediction has the bits of the base model's") {
  const Scene scene;
  Policy policy(tiny_unet(at::kBFloat16), LoraConfig{.rank = 2, .alpha = 3.0}, 5.0, 1);
  const Tensor base = scene.predict(policy, WeightMode::kBase);
  CHECK(scene.predict(policy, WeightMode::kAdapter).equal(base));
  CHECK(scene.predict(policy, WeightMode::kMerged).equal(base));
}

TEST_CASE("gradients to the latents pass a bfloat16 network's door and come back in float32") {
  const Scene scene;
  const auto gradient = [&](at::ScalarType type) {
    Policy policy = scene.policy(type, 0.3);
    const Tensor x = scene.x.detach().clone().requires_grad_(true);
    policy.predict(WeightMode::kMerged, x, scene.timestep, scene.conditioning).square().sum().backward();
    return x.grad();
  };
  const Tensor rounded = gradient(at::kBFloat16);
  CHECK((rounded.scalar_type() == at::kFloat));
  CHECK(relative_error(rounded, gradient(at::kFloat)) < 0.2);  // twice as many layers
}

TEST_CASE("a bfloat16 decoder takes float32 latents and gives float32 pictures, in slices too") {
  const SmallModel model;
  const at::NoGradGuard no_grad;
  const auto exact = model.folder().load_vae(at::kFloat), rounded = model.folder().load_vae(at::kBFloat16);
  const Tensor latents = draw({3, 4, 4, 4}, 7);
  const Tensor pictures = decode_image(*rounded, latents);
  CHECK((pictures.scalar_type() == at::kFloat));
  CHECK(relative_error(pictures, decode_image(*exact, latents)) < 0.05);
  CHECK(relative_error(decode_image_sliced(*exact, latents, 2), decode_image(*exact, latents)) < 1e-5);
}

TEST_CASE("a placement is refused in plain words") {
  CHECK((placement_of("bf16", "cpu", "actors.device").dtype == at::kBFloat16));
  CHECK((placement_of("no", "cpu", "actors.device").dtype == at::kFloat));
  CHECK_THROWS_WITH_AS(placement_of("fp8", "cpu", "actors.device"), doctest::Contains("no or bf16"), Error);
  CHECK_THROWS_WITH_AS(placement_of("no", "cuda:99", "learner.device"), doctest::Contains("learner.device"), Error);
}
