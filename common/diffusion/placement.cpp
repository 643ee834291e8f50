#include "common/diffusion/placement.h"

#include "common/device/device.h"
#include "common/error.h"

namespace nabla {

Placement placement_of(const std::string& mixed_precision, const std::string& device, const std::string& option) {
  if (mixed_precision != "no" && mixed_precision != "bf16")
    throw usage_error("[model] training.mixed_precision is '{}'; expected no or bf16", mixed_precision);
  return Placement(mixed_precision == "bf16" ? at::kBFloat16 : at::kFloat, parse_device(device, option));
}

}  // namespace nabla
