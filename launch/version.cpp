#include "launch/version.h"

#include "common/device/device.h"
#include "protocol/record.h"

#include <fmt/format.h>
#include <torch/version.h>

namespace nabla {

std::vector<std::pair<std::string, std::string>> version_facts() {
  return {
      {"nabla", NABLA_VERSION},
      {"commit", NABLA_COMMIT},
      {"protocol", std::to_string(kProtocolVersion)},
      {"torch", TORCH_VERSION},
      {"cuda", cuda_devices().description},
      {"compiler", fmt::format("g++ {}", __VERSION__)},
      {"build", NABLA_BUILD_TYPE},
  };
}

}  // namespace nabla
