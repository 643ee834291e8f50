#include "tests/testing.h"

#include "common/device/device.h"
#include "common/error.h"

#include <algorithm>
#include <string>

using namespace nabla;

namespace {

// The error that parse_device answers with; its code is kOk where it answers with a device.
Error device_error(const std::string& name) {
  try {
    parse_device(name);
  } catch (const Error& error) {
    return error;
  }
  return {ExitCode::kOk, ""};
}

}  // namespace

TEST_CASE("the CPU is always a device") { CHECK(parse_device("cpu").is_cpu()); }

TEST_CASE("an unknown device name is a usage error that names it and the choices") {
  for (const std::string name : {"", "gpu", "CPU", "cuda0", "cuda:", "cuda:-1", "cuda:1x", "cuda:99999999999"}) {
    const Error error = device_error(name);
    CHECK(error.code() == ExitCode::kUsage);
    const std::string message = error.what();
    CHECK(message.find("'" + name + "'") != std::string::npos);
    CHECK(message.find("cuda:<index>") != std::string::npos);
  }
}

TEST_CASE("a CUDA device that is not there is a usage error that says what to use") {
  const DeviceReport report = cuda_devices();
  const std::string absent = "cuda:" + std::to_string(report.count);
  const Error error = device_error(absent);
  CHECK(error.code() == ExitCode::kUsage);
  CHECK(std::string(error.what()).find("cpu") != std::string::npos);
  CHECK((std::string(error.what()).find("built without CUDA") != std::string::npos) == !report.built_with_cuda);
}

TEST_CASE("numbered processes take turns over the GPUs of a machine, and stay where they were told to be") {
  const int count = std::max(1, cuda_devices().count);
  for (int number = 0; number < 5; ++number) CHECK(device_in_turn("cuda", number) == "cuda:" + std::to_string(number % count));
  for (const std::string name : {"cpu", "cuda:1"}) CHECK(device_in_turn(name, 3) == name);
}

TEST_CASE("every CUDA device of the machine can be named") {
  const DeviceReport report = cuda_devices();
  if (report.count == 0) MESSAGE("skipped: no GPU (" << report.description << ")");
  for (int index = 0; index < report.count; ++index) CHECK(parse_device("cuda:" + std::to_string(index)).index() == index);
}
