#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>

namespace nabla {

// Where networks compute and in which number type; a type alone means the CPU.
struct Placement {
  Placement(at::ScalarType type = at::kFloat, at::Device where = at::kCPU) : dtype(type), device(where) {}
  at::ScalarType dtype;
  at::Device device;
};

// training.mixed_precision (no | bf16) of a device that the option named `option` asks for; usage_error where this machine lacks it.
Placement placement_of(const std::string& mixed_precision, const std::string& device, const std::string& option);

}  // namespace nabla
