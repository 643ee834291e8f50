#include "tests/testing.h"

#include "common/device/frozen_conv.h"
#include "tests/bench/tensor_memory.h"

#include <torch/csrc/autograd/autograd.h>

using namespace nabla;

namespace {

struct Scene {
  explicit Scene(at::ScalarType type, std::int64_t every = 1) : stride(every) {
    at::manual_seed(3);
    x = at::randn({2, 6, 9, 8}, at::kDouble).to(type).contiguous(at::MemoryFormat::ChannelsLast).requires_grad_(true);
    weight = at::randn({5, 6, 3, 3}, at::kDouble).to(type).contiguous(at::MemoryFormat::ChannelsLast);
    bias = at::randn({5}, at::kDouble).to(type);
  }
  at::Tensor ours() const { return nabla::conv2d(x, weight, bias, stride, 1); }
  at::Tensor aten() const { return at::conv2d(x, weight, bias, {stride, stride}, at::IntArrayRef{1, 1}); }
  at::Tensor x, weight, bias;
  std::int64_t stride;
};

at::Tensor gradient(const at::Tensor& y, const at::Tensor& x) {
  const at::Tensor dy = at::cos(at::arange(static_cast<double>(y.numel()), y.options().requires_grad(false)).view_as(y));
  return torch::autograd::grad({y}, {x}, {dy})[0];
}

}  // namespace

TEST_CASE("a frozen convolution and its gradient have the bits of ATen's") {
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const std::int64_t stride : {1, 2}) {
      const Scene scene(type, stride);
      CHECK(scene.ours().equal(scene.aten()));
      CHECK(gradient(scene.ours(), scene.x).equal(gradient(scene.aten(), scene.x)));
    }
  }
}

TEST_CASE("a convolution without bias, as those of a CLIP tower's patches, is one too") {
  Scene scene(at::kFloat);
  scene.bias = at::Tensor();
  CHECK(gradient(scene.ours(), scene.x).equal(gradient(scene.aten(), scene.x)));
}

TEST_CASE("a trained weight gets its gradient") {
  Scene scene(at::kDouble);
  scene.weight.requires_grad_(true);
  const at::Tensor ours = torch::autograd::grad({scene.ours().square().sum()}, {scene.weight})[0];
  CHECK(ours.equal(torch::autograd::grad({scene.aten().square().sum()}, {scene.weight})[0]));
}

TEST_CASE("the gradient of a frozen convolution can be differentiated again") {
  const Scene scene(at::kDouble);
  const auto twice = [&](const at::Tensor& y) {
    const at::Tensor once = torch::autograd::grad({y.pow(3).sum()}, {scene.x}, {}, true, true)[0];
    return torch::autograd::grad({once.square().sum()}, {scene.x})[0];
  };
  const at::Tensor expected = twice(scene.aten());
  CHECK(((twice(scene.ours()) - expected).norm() / expected.norm()).item<double>() < 1e-12);
}

TEST_CASE("the graph of a frozen convolution does not keep its input") {
  const at::Tensor weight = at::ones({4, 4, 3, 3}), leaf = at::ones({1, 4, 16, 16}).requires_grad_(true);
  const auto kept = [&](auto convolution) {
    const TensorMemory memory;
    const at::Tensor y = convolution(leaf * 2.0);
    return memory.live_bytes() - static_cast<std::int64_t>(y.nbytes());
  };
  const std::int64_t input = static_cast<std::int64_t>(leaf.nbytes());
  CHECK(kept([&](const at::Tensor& x) { return nabla::conv2d(x, weight, {}, 1, 1); }) < input);
  CHECK(kept([&](const at::Tensor& x) { return at::conv2d(x, weight, {}, {1, 1}, at::IntArrayRef{1, 1}); }) >= input);
}
