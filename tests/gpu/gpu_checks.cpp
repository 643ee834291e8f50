// Checks kernels, a NCCL group and networks on the GPU against the CPU and measures their speed. Prints one JSON object; exits 1 where an error exceeds its bound.
// usage: gpu_checks ASSETS [kernels|nccl|models|speed]...
#include "common/device/device.h"
#include "learner/group/nccl_process_group.h"
#include "learner/group/rendezvous_socket.h"
#include "tests/gpu/checks.h"

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <fmt/format.h>

#include <chrono>
#include <set>
#include <string>
#include <vector>

namespace nabla {

double seconds_per_call(int warm_up, int calls, const std::function<void()>& call) {
  for (int i = 0; i < warm_up; ++i) call();
  c10::cuda::device_synchronize();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) call();
  c10::cuda::device_synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / calls;
}

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor expected = b.detach().to(at::kDouble).cpu();
  return ((a.detach().to(at::kDouble).cpu() - expected).norm() / expected.norm()).item<double>();
}

double gpu_peak_gib() {
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(0);
  return static_cast<double>(stats.allocated_bytes[0].peak) / (1 << 30);
}

void forget_gpu_peak() { c10::cuda::CUDACachingAllocator::resetPeakStats(0); }

namespace {

// Every call of a NCCL group of one rank: NCCL takes one rank a GPU.
void check_nccl(Checks& checks) {
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
  const double seconds = seconds_per_call(5, 50, [&] { group->all_reduce_sum(values); });
  checks.push_back({{"check", "nccl, one rank"}, {"passed", passed}, {"all_reduce_us", seconds * 1e6}});
}

int run(const std::string& assets, const std::set<std::string>& parts) {
  const DeviceReport report = cuda_devices();
  nlohmann::json result{{"devices", report.description}, {"checks", Checks::array()}};
  if (report.count == 0) {
    result["skipped"] = "no GPU";
    fmt::print("{}\n", result.dump(2));
    return 0;
  }
  Checks& checks = result["checks"];
  const auto wanted = [&](const char* part) { return parts.empty() || parts.contains(part); };
  // One part that fails leaves the others their say.
  const auto guarded = [&](const char* part, const std::function<void()>& check) {
    if (!wanted(part)) return;
    try {
      check();
    } catch (const std::exception& error) {
      checks.push_back({{"check", part}, {"passed", false}, {"error", error.what()}});
    }
  };
  guarded("kernels", [&] { check_kernels(checks); });
  guarded("nccl", [&] { check_nccl(checks); });
  guarded("models", [&] { check_models(checks, assets); });
  guarded("speed", [&] { measure_speed(checks); });
  bool passed = true;
  for (const auto& check : checks) passed = passed && check.value("passed", true);
  fmt::print("{}\n", result.dump(2));
  return passed ? 0 : 1;
}

}  // namespace
}  // namespace nabla

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: gpu_checks ASSETS [kernels|nccl|models|speed]...\n");
    return 2;
  }
  return nabla::run(argv[1], {argv + 2, argv + argc});
}
