#include "tests/testing.h"

#include "common/device/device.h"
#include "common/device/geglu.h"
#include "common/error.h"

#include "tests/bench/tensor_memory.h"

#include <torch/csrc/autograd/autograd.h>

using namespace nabla;

namespace {

double relative_error(const at::Tensor& actual, const at::Tensor& expected) {
  return ((actual.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
}

}  // namespace

TEST_CASE("the first half is multiplied by the activated second half") {
  // gelu(0.5), gelu(1), silu(0.5), silu(1) to 16 digits.
  const at::Tensor projected = at::tensor({2.0, -3.0, 0.5, 1.0}, at::kDouble).view({1, 4});
  const at::Tensor gelu = at::tensor({2 * 0.34573123063700656, -3 * 0.8413447460685429}, at::kDouble).view({1, 2});
  const at::Tensor silu = at::tensor({2 * 0.3112296656009273, -3 * 0.7310585786300049}, at::kDouble).view({1, 2});
  CHECK(relative_error(gated_linear_unit(projected, Gate::kGelu), gelu) < 1e-14);
  CHECK(relative_error(gated_linear_unit(projected, Gate::kSilu), silu) < 1e-14);
}

TEST_CASE("gradients reach both halves") {
  const at::Tensor projected = at::tensor({2.0, -3.0, 0.5, 1.0}, at::kDouble).requires_grad_(true);
  gated_linear_unit(projected, Gate::kGelu).sum().backward();
  CHECK(projected.grad()[0].item<double>() == doctest::Approx(0.34573123063700656));
  CHECK(projected.grad()[3].item<double>() == doctest::Approx(-3 * 1.0833154705876862));  // gelu'(1) = Phi(1) + phi(1)
}

TEST_CASE("gradients have the bits of the plain form's, and can be differentiated again") {
  at::manual_seed(4);
  const at::Tensor projected = at::randn({3, 5, 8}, at::kDouble).requires_grad_(true);
  for (const Gate gate : {Gate::kGelu, Gate::kSilu}) {
    const auto twice = [&](const at::Tensor& y) {
      const at::Tensor once = torch::autograd::grad({y.pow(3).sum()}, {projected}, {}, true, true)[0];
      return std::pair(once.detach(), torch::autograd::grad({once.square().sum()}, {projected})[0]);
    };
    const auto ours = twice(gated_linear_unit(projected, gate)), plain = twice(unfused_gated_linear_unit(projected, gate));
    CHECK(relative_error(ours.first, plain.first) < 1e-14);
    CHECK(relative_error(ours.second, plain.second) < 1e-13);
  }
}

TEST_CASE("the graph keeps the projection alone") {
  const at::Tensor leaf = at::ones({64, 128}).requires_grad_(true);
  const auto kept = [&](auto unit) {
    const TensorMemory memory;
    const at::Tensor y = unit(leaf * 2.0, Gate::kGelu);
    return memory.live_bytes() - static_cast<std::int64_t>(y.nbytes());
  };
  const std::int64_t projection = static_cast<std::int64_t>(leaf.nbytes());
  CHECK(kept(gated_linear_unit) <= projection);
  CHECK(kept(unfused_gated_linear_unit) > projection);
}

TEST_CASE("an odd last size is refused") {
  CHECK_THROWS_AS(gated_linear_unit(at::zeros({2, 3}), Gate::kGelu), Error);
  CHECK_THROWS_AS(gated_linear_unit(at::zeros({}), Gate::kGelu), Error);
}

TEST_CASE("the kernel refuses what it cannot compute") { CHECK_THROWS_AS(fused_gated_linear_unit(at::zeros({2, 4}), Gate::kGelu), Error); }

TEST_CASE("the kernel equals the ATen form in float64 of the same input") {
  if (cuda_devices().count == 0) {
    MESSAGE("skipped: no GPU");
    return;
  }
  const at::Device device = parse_device("cuda");
  const struct {
    at::ScalarType type;
    double tolerance;
  } kTypes[] = {{at::kFloat, 1e-6}, {at::kHalf, 1e-3}, {at::kBFloat16, 6e-3}};
  for (const auto& [type, tolerance] : kTypes) {
    for (const Gate gate : {Gate::kGelu, Gate::kSilu}) {
      const at::Tensor projected = at::randn({3, 7, 2 * 333}, at::kFloat).to(type);
      const at::Tensor expected = unfused_gated_linear_unit(projected.to(at::kDouble), gate);
      CHECK(relative_error(fused_gated_linear_unit(projected.to(device), gate).cpu(), expected) < tolerance);
    }
  }
}
