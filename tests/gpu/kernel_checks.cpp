#include "common/device/fused_group_norm.h"
#include "common/device/geglu.h"
#include "common/device/group_norm.h"
#include "tests/gpu/checks.h"

#include <fmt/format.h>

namespace nabla {
namespace {

constexpr int kWarmUp = 5, kCalls = 50;

at::TensorOptions on_gpu() { return at::TensorOptions().device(at::kCUDA); }

// Bytes read and written a second by a copy that is too large for the caches.
double copy_gb_per_s() {
  const at::Tensor from = at::empty({std::int64_t{1} << 29}, on_gpu().dtype(at::kByte)), to = at::empty_like(from);
  const double seconds = seconds_per_call(kWarmUp, kCalls, [&] { to.copy_(from); });
  return 2e-9 * static_cast<double>(from.nbytes()) / seconds;
}

// One type at the largest feed-forward of SD v1.5 (batch 8, 64 x 64 positions, 2 x 1280 features).
nlohmann::json check_geglu(at::ScalarType type, double tolerance, double copy) {
  at::manual_seed(0);
  const at::Tensor projected = at::randn({8, 4096, 2560}, on_gpu()).to(type);
  const at::Tensor expected = unfused_gated_linear_unit(projected.to(at::kDouble), Gate::kGelu).cpu();
  const double error = relative_error(fused_gated_linear_unit(projected, Gate::kGelu), expected);
  const double fused = seconds_per_call(kWarmUp, kCalls, [&] { fused_gated_linear_unit(projected, Gate::kGelu); });
  const double unfused = seconds_per_call(kWarmUp, kCalls, [&] { unfused_gated_linear_unit(projected, Gate::kGelu); });
  // The fused kernel reads 2F and writes F values a row.
  const double gb_per_s = 1.5e-9 * static_cast<double>(projected.nbytes()) / fused;
  return {{"check", fmt::format("geglu {}", at::toString(type))},
          {"relative_error", error},
          {"tolerance", tolerance},
          {"passed", error < tolerance},
          {"fused_us", fused * 1e6},
          {"unfused_us", unfused * 1e6},
          {"gb_per_s", gb_per_s},
          {"share_of_copy", gb_per_s / copy}};
}

struct Norm {
  at::Tensor x, weight, bias, dy;
  double eps = 1e-5;
  std::int64_t groups = 32;
};

Norm norm_of(std::vector<std::int64_t> shape, std::int64_t groups, at::ScalarType type, double mean) {
  at::manual_seed(1);
  const auto draw = [&](std::vector<std::int64_t> sizes) { return at::randn(sizes, on_gpu()); };
  return {(draw(shape) + mean).to(type).contiguous(at::MemoryFormat::ChannelsLast),
          draw({shape[1]}).to(type),
          draw({shape[1]}).to(type),
          draw(shape).to(type).contiguous(at::MemoryFormat::ChannelsLast),
          1e-5,
          groups};
}

struct NormResult {
  at::Tensor y, dx, dweight, dbias;
};

NormResult run_norm(const Norm& norm, at::ScalarType type, bool activated, bool ours) {
  const auto leaf = [&](const at::Tensor& tensor) { return tensor.to(type).detach().requires_grad_(true); };
  const at::Tensor x = leaf(norm.x), weight = leaf(norm.weight), bias = leaf(norm.bias);
  const at::Tensor plain = ours && !activated ? group_norm(x, norm.groups, weight, bias, norm.eps)
                           : ours             ? group_norm_silu(x, norm.groups, weight, bias, norm.eps)
                                              : at::group_norm(x.contiguous(), norm.groups, weight, bias, norm.eps);
  const at::Tensor y = !ours && activated ? at::silu(plain) : plain;
  y.backward(norm.dy.to(type));
  return {y.detach(), x.grad(), weight.grad(), bias.grad()};
}

// Shapes that take the kernel's different ways: packs of eight and single channels, a chunk that is not full, a large mean.
nlohmann::json check_norm(const std::string& name, const Norm& norm, bool activated, double tolerance) {
  const at::AutoGradMode record(true);
  const at::ScalarType type = norm.x.scalar_type();
  const NormResult actual = run_norm(norm, type, activated, true), expected = run_norm(norm, at::kDouble, activated, false);
  const double y = relative_error(actual.y, expected.y), dx = relative_error(actual.dx, expected.dx);
  const double dweight = relative_error(actual.dweight, expected.dweight), dbias = relative_error(actual.dbias, expected.dbias);
  const bool repeats = actual.dx.equal(run_norm(norm, type, activated, true).dx);
  return {{"check", fmt::format("group norm {} {}{}", name, at::toString(type), activated ? " + silu" : "")},
          {"fused", fused_group_norm_applies(norm.x, norm.weight)},
          {"y", y},
          {"dx", dx},
          {"dweight", dweight},
          {"dbias", dbias},
          {"repeats", repeats},
          {"tolerance", tolerance},
          {"passed", fused_group_norm_applies(norm.x, norm.weight) && repeats && std::max({y, dx, dweight, dbias}) < tolerance}};
}

// The largest norm of SD v1.5's U-Net and of its decoder.
nlohmann::json time_norm(const std::string& name, std::vector<std::int64_t> shape, double copy) {
  const Norm norm = norm_of(std::move(shape), 32, at::kBFloat16, 0.0);
  const auto [y, moments] = fused_group_norm(norm.x, norm.weight, norm.bias, norm.groups, norm.eps, Activation::kSilu);
  const double forward = seconds_per_call(
      kWarmUp, kCalls, [&] { fused_group_norm(norm.x, norm.weight, norm.bias, norm.groups, norm.eps, Activation::kSilu); });
  const double backward = seconds_per_call(
      kWarmUp, kCalls, [&] { fused_group_norm_backward(norm.dy, norm.x, norm.weight, norm.bias, moments, Activation::kSilu); });
  const at::Tensor contiguous = norm.x.contiguous();
  const double aten =
      seconds_per_call(kWarmUp, kCalls, [&] { at::silu(at::group_norm(contiguous, norm.groups, norm.weight, norm.bias, norm.eps)); });
  const double bytes = static_cast<double>(norm.x.nbytes());
  // Forward: x twice and y once; backward: x and dy twice each and dx once.
  return {{"check", "speed of group norm + silu " + name},
          {"forward_us", forward * 1e6},
          {"backward_us", backward * 1e6},
          {"aten_contiguous_forward_us", aten * 1e6},
          {"forward_gb_per_s", 3e-9 * bytes / forward},
          {"backward_gb_per_s", 5e-9 * bytes / backward},
          {"forward_share_of_copy", 3e-9 * bytes / forward / copy},
          {"backward_share_of_copy", 5e-9 * bytes / backward / copy}};
}

}  // namespace

void check_kernels(Checks& checks) {
  const at::NoGradGuard no_grad;
  const double copy = copy_gb_per_s();
  checks.push_back({{"check", "device copy"}, {"gb_per_s", copy}});
  for (const auto& [type, tolerance] : {std::pair{at::kFloat, 1e-6}, {at::kHalf, 1e-3}, {at::kBFloat16, 6e-3}})
    checks.push_back(check_geglu(type, tolerance, copy));
  for (const auto& [type, tolerance] : {std::pair{at::kFloat, 1e-5}, {at::kHalf, 3e-3}, {at::kBFloat16, 2e-2}}) {
    for (const bool activated : {false, true}) {
      checks.push_back(check_norm("320 x 64 x 64", norm_of({4, 320, 64, 64}, 32, type, 0.3), activated, tolerance));
      checks.push_back(check_norm("2560 x 8 x 8", norm_of({3, 2560, 8, 8}, 32, type, 0.3), activated, tolerance));
      checks.push_back(check_norm("33 x 5 x 7", norm_of({2, 33, 5, 7}, 3, type, 0.3), activated, tolerance));
    }
  }
  checks.push_back(check_norm("of a large mean", norm_of({2, 64, 40, 40}, 8, at::kFloat, 300.0), true, 1e-3));
  checks.push_back(time_norm("320 x 64 x 64, 32 rows", {32, 320, 64, 64}, copy));
  checks.push_back(time_norm("128 x 512 x 512, 4 rows", {4, 128, 512, 512}, copy));
}

}  // namespace nabla
