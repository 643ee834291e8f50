#include "tests/testing.h"

#include "common/device/group_norm.h"

#include <ATen/Context.h>
#include <ATen/ops/group_norm.h>

#include "tests/bench/tensor_memory.h"

#include <torch/csrc/autograd/autograd.h>

using namespace nabla;

namespace {

constexpr std::int64_t kGroups = 3;
constexpr double kEps = 1e-5;

double relative_error(const at::Tensor& actual, const at::Tensor& expected) {
  return ((actual.to(at::kDouble) - expected.to(at::kDouble)).norm() / expected.to(at::kDouble).norm()).item<double>();
}

struct Result {
  at::Tensor y, dx, dweight, dbias;
};

template <class Norm>
Result run(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& dy, Norm norm) {
  const at::Tensor own_x = x.detach().requires_grad_(true), own_weight = weight.detach().requires_grad_(true);
  const at::Tensor own_bias = bias.detach().requires_grad_(true);
  const at::Tensor y = norm(own_x, kGroups, own_weight, own_bias, kEps);
  y.backward(dy);
  return {y.detach(), own_x.grad(), own_weight.grad(), own_bias.grad()};
}

// Ours in channels-last memory against ATen's in float64 on contiguous memory.
void check_against_aten(at::ScalarType type, double mean, double tolerance) {
  at::manual_seed(7);
  const at::Tensor x = at::randn({4, 6, 5, 7}, at::kDouble) + mean, dy = at::randn({4, 6, 5, 7}, at::kDouble);
  const at::Tensor weight = at::randn({6}, at::kDouble), bias = at::randn({6}, at::kDouble);
  // The reference gets the values as they are after rounding to the type.
  const auto rounded = [&](const at::Tensor& tensor) { return tensor.to(type).to(at::kDouble); };
  const Result expected =
      run(rounded(x), rounded(weight), rounded(bias), rounded(dy), [](const auto&... arguments) { return at::group_norm(arguments...); });
  const auto given = [&](const at::Tensor& tensor) { return tensor.to(type).contiguous(at::MemoryFormat::ChannelsLast); };
  const Result actual =
      run(given(x), weight.to(type), bias.to(type), given(dy), [](const auto&... arguments) { return nabla::group_norm(arguments...); });
  CHECK(actual.y.is_contiguous(at::MemoryFormat::ChannelsLast));
  CHECK(relative_error(actual.y, expected.y) < tolerance);
  CHECK(relative_error(actual.dx, expected.dx) < tolerance);
  CHECK(relative_error(actual.dweight, expected.dweight) < tolerance);
  CHECK(relative_error(actual.dbias, expected.dbias) < tolerance);
}

}  // namespace

TEST_CASE("channels-last group norm and its gradients equal ATen's") {
  check_against_aten(at::kDouble, 0.3, 1e-13);
  check_against_aten(at::kFloat, 0.3, 1e-6);
}

TEST_CASE("a large mean costs the digits that the input lost, no more") { check_against_aten(at::kFloat, 300.0, 1e-4); }

TEST_CASE("a gradient in contiguous memory is understood") {
  at::manual_seed(8);
  const at::Tensor x = at::randn({2, 6, 4, 4}).contiguous(at::MemoryFormat::ChannelsLast), dy = at::randn({2, 6, 4, 4});
  const at::Tensor weight = at::ones({6}), bias = at::zeros({6});
  const auto ours = [](const auto&... arguments) { return nabla::group_norm(arguments...); };
  CHECK(relative_error(run(x, weight, bias, dy, ours).dx, run(x, weight, bias, dy.contiguous(at::MemoryFormat::ChannelsLast), ours).dx) ==
        0.0);
}

TEST_CASE("contiguous memory and other numbers of dimensions go to ATen") {
  at::manual_seed(9);
  const at::Tensor weight = at::randn({6}), bias = at::randn({6});
  for (const at::Tensor& x : {at::randn({2, 6, 4, 4}), at::randn({2, 6, 9})}) {
    CHECK(nabla::group_norm(x, kGroups, weight, bias, kEps).equal(at::group_norm(x, kGroups, weight, bias, kEps)));
  }
}

TEST_CASE("norm and activation in one are what they are one after the other") {
  at::manual_seed(10);
  const at::Tensor dy = at::randn({3, 6, 5, 4}), weight = at::randn({6}), bias = at::randn({6});
  const auto together = [](const auto&... arguments) { return group_norm_silu(arguments...); };
  const auto apart = [](const auto&... arguments) { return at::silu(nabla::group_norm(arguments...)); };
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
      const at::Tensor x = at::randn({3, 6, 5, 4}).to(type).contiguous(format);
      const Result a = run(x, weight.to(type), bias.to(type), dy.to(type), together);
      const Result b = run(x, weight.to(type), bias.to(type), dy.to(type), apart);
      CHECK(a.y.equal(b.y));
      CHECK(a.dx.equal(b.dx));
      CHECK(a.dweight.equal(b.dweight));
      CHECK(a.dbias.equal(b.dbias));
    }
  }
}

TEST_CASE("the gradient of norm and activation in one can be differentiated again") {
  at::manual_seed(11);
  const at::Tensor weight = at::randn({6}, at::kDouble), bias = at::randn({6}, at::kDouble);
  const at::Tensor x = at::randn({2, 6, 4, 3}, at::kDouble).contiguous(at::MemoryFormat::ChannelsLast).requires_grad_(true);
  const auto twice = [&](const at::Tensor& y) {
    const at::Tensor once = torch::autograd::grad({y.pow(3).sum()}, {x}, {}, true, true)[0];
    return torch::autograd::grad({once.square().sum()}, {x})[0];
  };
  const at::Tensor expected = twice(at::silu(at::group_norm(x, kGroups, weight, bias, kEps)));
  CHECK(relative_error(twice(group_norm_silu(x, kGroups, weight, bias, kEps)), expected) < 1e-11);
}

TEST_CASE("the graph of norm and activation in one keeps nothing of the picture's size but the input") {
  const at::Tensor x = at::ones({1, 6, 32, 32}).contiguous(at::MemoryFormat::ChannelsLast).requires_grad_(true);
  const at::Tensor weight = at::ones({6}), bias = at::zeros({6});
  const auto kept = [&](auto norm) {
    const TensorMemory memory;
    const at::Tensor y = norm(x, kGroups, weight, bias, kEps);
    return memory.live_bytes() - static_cast<std::int64_t>(y.nbytes());
  };
  CHECK(kept([](const auto&... arguments) { return group_norm_silu(arguments...); }) < 1024);
  CHECK(kept([](const auto&... arguments) { return at::silu(at::group_norm(arguments...)); }) > static_cast<std::int64_t>(x.nbytes()));
}
