#include "common/device/device.h"

#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <nccl.h>

namespace nabla {
namespace {

// CUDA codes 13.0 as 13000.
std::string cuda_version(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

std::string library_versions() {
  int runtime = 0, driver = 0, nccl = 0;
  cudaRuntimeGetVersion(&runtime);
  cudaDriverGetVersion(&driver);  // 0 without a driver
  ncclGetVersion(&nccl);          // 2.28.9 as 22809
  return fmt::format("CUDA runtime {}, driver {}, NCCL {}.{}.{}", cuda_version(runtime), driver == 0 ? "none" : cuda_version(driver),
                     nccl / 10000, nccl % 10000 / 100, nccl % 100);
}

std::string device_name(int index) {
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, index) != cudaSuccess) return "unknown";
  return fmt::format("{} ({:.0f} GiB, sm_{}{})", properties.name, static_cast<double>(properties.totalGlobalMem) / (1 << 30),
                     properties.major, properties.minor);
}

}  // namespace

DeviceReport cuda_devices() {
  DeviceReport report{.built_with_cuda = true, .count = c10::cuda::device_count(), .description = library_versions()};
  if (report.count == 0) report.description += "; no usable device";
  for (int index = 0; index < report.count; ++index) report.description += fmt::format("; {}: {}", index, device_name(index));
  return report;
}

void make_current(at::Device device) {
  if (device.is_cuda()) c10::cuda::set_device(device.index());
}

}  // namespace nabla
