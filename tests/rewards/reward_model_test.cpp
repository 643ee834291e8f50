#include "actors/rewards/reward_model.h"

#include "tests/common/error_check.h"
#include "tests/diffusion/parity_data.h"

using namespace nabla;

namespace {

// Against the formulas written in Python, in both precisions.
void check_analytic(const std::string& name, const std::string& key) {
  INFO(name);
  const TensorMap bundle = load_tensors(parity_file("reward/analytic.safetensors"));
  const auto reward = make_reward({.name = name, .model = {}});
  for (const auto& [dtype, error] : {std::pair(at::kFloat, 1e-5), std::pair(at::kDouble, 1e-12)}) {
    const auto result = reward_gradient(*reward, bundle.at("pictures").to(dtype), {"", "", ""});
    CHECK((result.score.scalar_type() == dtype));
    CHECK(relative_error(result.score, bundle.at(key + "_scores")) <= error);
    CHECK(relative_error(result.grad_image, bundle.at(key + "_gradient")) <= error);
  }
}

}  // namespace

TEST_CASE("the analytic rewards follow their formulas, gradients too") {
  check_analytic("lantern", "lantern");
  check_analytic("mean-red", "mean_red");
}

TEST_CASE("mean-red of a red, a blue and a grey picture is 1, -1 and 0") {
  Tensor images = at::zeros({3, 3, 4, 6});
  images.select(0, 0).select(0, 0).fill_(1.0);
  images.select(0, 1).select(0, 2).fill_(1.0);
  images.select(0, 2).fill_(0.5);
  const Tensor scores = make_reward({.name = "mean-red", .model = {}})->score(images, {"", "", ""});
  CHECK(at::equal(scores, torch::tensor({1.0F, -1.0F, 0.0F})));
}

TEST_CASE("lantern prefers a warm bright centre to its darkness and to an overdone one") {
  Tensor images = at::full({3, 3, 32, 32}, 0.15);
  images.select(1, 2).fill_(0.0);
  images.select(0, 0).narrow(1, 9, 14).narrow(2, 9, 14).add_(torch::tensor({0.5, 0.25, 0.0}).view({3, 1, 1}));
  images.select(0, 2).narrow(1, 6, 20).narrow(2, 6, 20).add_(torch::tensor({0.85, 0.85, 0.0}).view({3, 1, 1}));
  const Tensor scores = make_reward({.name = "lantern", .model = {}})->score(images, {"", "", ""});
  CHECK(scores[0].item<double>() > scores[1].item<double>());
  CHECK(scores[0].item<double>() > scores[2].item<double>());
  CHECK(scores.max().item<double>() <= 10.0);
}

TEST_CASE("a reward's gradient is there although gradients are switched off around it") {
  const at::NoGradGuard no_grad;
  const auto reward = make_reward({.name = "mean-red", .model = {}});
  const Tensor images = at::rand({2, 3, 5, 5});
  const auto result = reward_gradient(*reward, images, {"", ""});
  CHECK_FALSE(images.requires_grad());
  CHECK_FALSE(result.score.requires_grad());
  CHECK(at::allclose(result.grad_image.select(1, 0), at::full({2, 5, 5}, 1.0 / 25)));
}

TEST_CASE("an unknown reward is answered with the nearest and the known ones") {
  check_error(
      ExitCode::kUsage, [] { make_reward({.name = "lanterns", .model = {}}); }, "'lanterns'", "did you mean 'lantern'", "mean-red");
}

TEST_CASE("pictures with another number of channels are refused") {
  const auto reward = make_reward({.name = "lantern", .model = {}});
  check_error(
      ExitCode::kData,
      [&] {
        reward->score(at::zeros({2, 4, 8, 8}), {"", ""});
      },
      "lantern", "[2, 4, 8, 8]", "[N,3,H,W]");
}
