// Checks the kernels against their ATen forms on the GPU and times both; calls every call of a NCCL group of one rank (NCCL takes one rank a GPU). Prints one JSON object; exits 1 where an error exceeds its bound.
#include "common/device/device.h"
#include "common/device/geglu.h"
#include "learner/group/nccl_process_group.h"
#include "learner/group/rendezvous_socket.h"

#include <c10/cuda/CUDAFunctions.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace nabla {
namespace {

// Seconds a call takes, from 50 calls after 5 that warm up.
double seconds_per_call(const std::function<void()>& call) {
  constexpr int kWarmUp = 5, kCalls = 50;
  for (int i = 0; i < kWarmUp; ++i) call();
  c10::cuda::device_synchronize();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kCalls; ++i) call();
  c10::cuda::device_synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / kCalls;
}

// One type at the largest feed-forward of SD v1.5 (batch 8, 64 x 64 positions, 2 x 1280 features).
nlohmann::json check_geglu(at::ScalarType type, double tolerance) {
  at::manual_seed(0);
  const at::Tensor projected = at::randn({8, 4096, 2560}, at::TensorOptions().device(at::kCUDA)).to(type);
  const at::Tensor expected = unfused_gated_linear_unit(projected.to(at::kDouble), Gate::kGelu);
  const auto error = [&expected](const at::Tensor& actual) {
    return ((actual.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
  };
  const double fused_error = error(fused_gated_linear_unit(projected, Gate::kGelu));
  const double fused_s = seconds_per_call([&] { fused_gated_linear_unit(projected, Gate::kGelu); });
  const double unfused_s = seconds_per_call([&] { unfused_gated_linear_unit(projected, Gate::kGelu); });
  // The fused kernel reads 2F and writes F values a row.
  const double bytes = 1.5 * static_cast<double>(projected.numel()) * static_cast<double>(projected.element_size());
  return {{"check", fmt::format("geglu {}", at::toString(type))},
          {"shape", {8, 4096, 2560}},
          {"relative_error", fused_error},
          {"relative_error_unfused", error(unfused_gated_linear_unit(projected, Gate::kGelu))},
          {"tolerance", tolerance},
          {"passed", fused_error < tolerance},
          {"fused_us", fused_s * 1e6},
          {"unfused_us", unfused_s * 1e6},
          {"fused_gb_per_s", bytes / fused_s * 1e-9}};
}

nlohmann::json check_nccl() {
  RendezvousSocket socket("127.0.0.1", 0);
  GroupOptions options;
  options.port = socket.port();
  options.listener = socket.release();
  const auto group = make_nccl_process_group(options, 0);
  at::Tensor values = at::randn({26'750'000}, at::TensorOptions().device(at::kCUDA));  // the gradients of SD v1.5's LoRA and flow network
  const at::Tensor expected = values.clone();
  group->all_reduce_sum(values);
  group->broadcast(values, 0);
  const bool passed = values.equal(expected) && group->vote(5) == 5 && group->all_gather("x") == std::vector<std::string>{"x"};
  const double seconds = seconds_per_call([&] { group->all_reduce_sum(values); });
  return {{"check", "nccl, one rank"}, {"passed", passed}, {"all_reduce_us", seconds * 1e6}};
}

int run() {
  const DeviceReport report = cuda_devices();
  nlohmann::json result{{"devices", report.description}, {"checks", nlohmann::json::array()}};
  if (report.count == 0) {
    result["skipped"] = "no GPU";
    fmt::print("{}\n", result.dump(2));
    return 0;
  }
  const at::NoGradGuard no_grad;
  for (const auto& [type, tolerance] : {std::pair{at::kFloat, 1e-6}, {at::kHalf, 1e-3}, {at::kBFloat16, 6e-3}})
    result["checks"].push_back(check_geglu(type, tolerance));
  result["checks"].push_back(check_nccl());
  bool passed = true;
  for (const auto& check : result["checks"]) passed = passed && check["passed"].get<bool>();
  fmt::print("{}\n", result.dump(2));
  return passed ? 0 : 1;
}

}  // namespace
}  // namespace nabla

int main() { return nabla::run(); }
