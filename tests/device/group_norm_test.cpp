#include "tests/testing.h"

#include "common/device/group_norm.h"

#include <ATen/Context.h>
#include <ATen/ops/group_norm.h>

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
