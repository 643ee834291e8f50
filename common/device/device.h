#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

namespace nabla {

// What this build and this machine offer beside the CPU.
struct DeviceReport {
  bool built_with_cuda = false;
  int count = 0;            // usable CUDA devices
  std::string description;  // one line for a person: versions and device names, or why there is none
};

// Never throws: a machine without a driver has zero devices.
DeviceReport cuda_devices();

// "cpu", "cuda" (device 0) or "cuda:<index>". Throws usage_error for other names, for cuda in a build without it, and for a device that
// this machine lacks; `option` is who asked, for the message.
at::Device parse_device(const std::string& name, const std::string& option = "device");

// "cuda" taken in turn by processes of one machine that are numbered: number n gets GPU n modulo their count. Other names stay.
std::string device_in_turn(const std::string& name, std::int64_t number);

// Makes it the one that this thread's CUDA calls mean unless they say another, so that nothing is set up on device 0 beside it. Nothing for the CPU.
void make_current(at::Device device);

}  // namespace nabla
