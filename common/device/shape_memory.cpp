#include "common/device/shape_memory.h"

#include "common/error.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/Allocator.h>
#include <torch/library.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <atomic>

namespace nabla {
namespace {

using at::Tensor;

std::atomic<std::int64_t> live{0}, peak{0};
std::atomic<bool> in_use{false};

class CountingAllocator : public at::Allocator {
 public:
  at::DataPtr allocate(std::size_t bytes) override {
    const auto now = live += static_cast<std::int64_t>(bytes);
    for (auto most = peak.load(); most < now && !peak.compare_exchange_weak(most, now);) continue;
    return {nullptr, new std::size_t(bytes), &release, at::Device(at::kMeta)};
  }
  at::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void*, const void*, std::size_t) const override {}

 private:
  static void release(void* context) {
    const auto* bytes = static_cast<std::size_t*>(context);
    live -= static_cast<std::int64_t>(*bytes);
    delete bytes;
  }
};

// Operators that LibTorch has for the meta device in Python alone.

Tensor like(const Tensor& tensor, at::IntArrayRef sizes) {
  return at::empty(sizes, tensor.options().memory_format(tensor.suggest_memory_format()));
}

Tensor masked(bool wanted, const Tensor& tensor) { return wanted ? at::empty_like(tensor) : Tensor(); }

Tensor convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>&, at::IntArrayRef stride, at::IntArrayRef padding,
                   at::IntArrayRef, bool, at::IntArrayRef, std::int64_t) {
  std::vector<std::int64_t> sizes{input.size(0), weight.size(0)};
  for (std::int64_t i = 2; i < input.dim(); ++i) {
    const auto axis = static_cast<std::size_t>(i - 2);
    sizes.push_back((input.size(i) + 2 * padding[axis] - weight.size(i)) / stride[axis] + 1);
  }
  return like(input, sizes);
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(const Tensor& dy, const Tensor& input, const Tensor& weight, at::IntArrayRef,
                                                        at::IntArrayRef, at::IntArrayRef, bool, at::IntArrayRef, std::int64_t,
                                                        std::array<bool, 3> mask) {
  return {masked(mask[0], input), masked(mask[1], weight), mask[2] ? at::empty({dy.size(1)}, dy.options()) : Tensor()};
}

std::tuple<Tensor, Tensor, Tensor> group_norm(const Tensor& x, const std::optional<Tensor>&, const std::optional<Tensor>&,
                                              std::int64_t rows, std::int64_t, std::int64_t, std::int64_t groups, double) {
  return {at::empty_like(x), at::empty({rows, groups}, x.options()), at::empty({rows, groups}, x.options())};
}

std::tuple<Tensor, Tensor, Tensor> group_norm_backward(const Tensor&, const Tensor& x, const Tensor&, const Tensor&,
                                                       const std::optional<Tensor>&, std::int64_t, std::int64_t channels, std::int64_t,
                                                       std::int64_t, std::array<bool, 3> mask) {
  const auto affine = [&](bool wanted) { return wanted ? at::empty({channels}, x.options()) : Tensor(); };
  return {masked(mask[0], x), affine(mask[1]), affine(mask[2])};
}

std::tuple<Tensor, Tensor, Tensor> layer_norm(const Tensor& x, at::IntArrayRef shape, const std::optional<Tensor>&,
                                              const std::optional<Tensor>&, double) {
  std::vector<std::int64_t> rows = x.sizes().slice(0, x.sizes().size() - shape.size()).vec();
  rows.resize(x.sizes().size(), 1);
  return {at::empty_like(x), at::empty(rows, x.options()), at::empty(rows, x.options())};
}

std::tuple<Tensor, Tensor, Tensor> layer_norm_backward(const Tensor&, const Tensor& x, at::IntArrayRef shape, const Tensor&, const Tensor&,
                                                       const std::optional<Tensor>&, const std::optional<Tensor>&,
                                                       std::array<bool, 3> mask) {
  const auto affine = [&](bool wanted) { return wanted ? at::empty(shape, x.options()) : Tensor(); };
  return {masked(mask[0], x), affine(mask[1]), affine(mask[2])};
}

// As the CPU's: rows of heads lie beside each other.
std::tuple<Tensor, Tensor> attention(const Tensor& query, const Tensor&, const Tensor& value, double, bool, const std::optional<Tensor>&,
                                     std::optional<double>) {
  const std::int64_t rows = query.size(0), heads = query.size(1), tokens = query.size(2);
  return {at::empty({rows, tokens, heads, value.size(3)}, query.options()).transpose(1, 2),
          at::empty({rows, heads, tokens}, query.options().dtype(at::kFloat))};
}

std::tuple<Tensor, Tensor, Tensor> attention_backward(const Tensor&, const Tensor& query, const Tensor& key, const Tensor& value,
                                                      const Tensor&, const Tensor&, double, bool, const std::optional<Tensor>&,
                                                      std::optional<double>) {
  return {at::empty_like(query), at::empty_like(key), at::empty_like(value)};
}

Tensor index_select(const Tensor& tensor, std::int64_t dim, const Tensor& index) {
  std::vector<std::int64_t> sizes = tensor.sizes().vec();
  sizes[static_cast<std::size_t>(dim < 0 ? dim + tensor.dim() : dim)] = index.numel();
  return at::empty(sizes, tensor.options());
}

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  return at::empty(at::infer_size(at::infer_size(condition.sizes(), a.sizes()), b.sizes()), a.options());
}

Tensor& logical_and(const Tensor& a, const Tensor& b, Tensor& out) {
  out.resize_(at::infer_size(a.sizes(), b.sizes()));
  return out;
}

bool equal(const Tensor&, const Tensor&) { return false; }

void register_operators() {
  static torch::Library library(torch::Library::IMPL, "aten", c10::DispatchKey::Meta, __FILE__, __LINE__);
  library.impl("convolution_overrideable", TORCH_FN(convolution));
  library.impl("convolution_backward_overrideable", TORCH_FN(convolution_backward));
  library.impl("native_group_norm", TORCH_FN(group_norm));
  library.impl("native_group_norm_backward", TORCH_FN(group_norm_backward));
  library.impl("native_layer_norm", TORCH_FN(layer_norm));
  library.impl("native_layer_norm_backward", TORCH_FN(layer_norm_backward));
  library.impl("_scaled_dot_product_flash_attention_for_cpu", TORCH_FN(attention));
  library.impl("_scaled_dot_product_flash_attention_for_cpu_backward", TORCH_FN(attention_backward));
  library.impl("index_select", TORCH_FN(index_select));
  library.impl("where.self", TORCH_FN(where));
  library.impl("logical_and.out", TORCH_FN(logical_and));
  library.impl("equal", TORCH_FN(equal));
}

}  // namespace

ShapeMemory::ShapeMemory() {
  if (in_use.exchange(true)) throw failure("[memory] shapes are being counted already");
  // Both stay: tensors may outlive the count, and operators cannot be taken back.
  static const bool registered = [] {
    static CountingAllocator allocator;
    c10::SetAllocator(at::kMeta, &allocator, 1);
    register_operators();
    return true;
  }();
  static_cast<void>(registered);
  live = peak = 0;
}

ShapeMemory::~ShapeMemory() { in_use = false; }

std::int64_t ShapeMemory::live_bytes() const { return live; }
std::int64_t ShapeMemory::peak_bytes() const { return peak; }
void ShapeMemory::forget_peak() { peak = live.load(); }

}  // namespace nabla
