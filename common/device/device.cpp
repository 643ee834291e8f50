#include "common/device/device.h"

#include "common/error.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

namespace nabla {
namespace {

// "cuda" -> 0, "cuda:3" -> 3, anything else -> nothing.
std::optional<int> cuda_index(std::string_view name) {
  constexpr std::string_view kPrefix = "cuda";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  if (name.empty()) return 0;
  if (name.front() != ':') return std::nullopt;
  name.remove_prefix(1);
  int index = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
  if (error != std::errc{} || end != name.data() + name.size() || index < 0) return std::nullopt;
  return index;
}

}  // namespace

at::Device parse_device(const std::string& name, const std::string& option) {
  if (name == "cpu") return {at::kCPU};
  const std::optional<int> index = cuda_index(name);
  if (!index) throw usage_error("[device] {} is '{}', which is no device; expected cpu, cuda or cuda:<index>", option, name);
  const DeviceReport report = cuda_devices();
  if (!report.built_with_cuda)
    throw usage_error(
        "[device] {} is '{}', but this nabla was built without CUDA; run launch/setup.sh --cuda on a machine with nvcc, or set it to cpu",
        option, name);
  if (*index >= report.count)
    throw usage_error("[device] {} is '{}', but this machine has {} usable CUDA devices ({}); set it to cpu or to another index", option,
                      name, report.count, report.description);
  return {at::kCUDA, static_cast<at::DeviceIndex>(*index)};
}

std::string device_in_turn(const std::string& name, std::int64_t number) {
  if (name != "cuda") return name;
  return fmt::format("cuda:{}", number % std::max(1, cuda_devices().count));
}

}  // namespace nabla
