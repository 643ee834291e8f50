#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace nabla {

// Exit codes of every subcommand; scripts and schedulers key on them (README, "Exit codes").
enum class ExitCode : int {
  kOk = 0,
  kFailure = 1,  // run-time failure, a full disk too
  kUsage = 2,    // command line or configuration
  kData = 3,     // missing or invalid model or data
  kNetwork = 4,  // peer, port or rendezvous
  kGpuMemory = 5,
  kNonFinite = 6,
  kRequeue = 75,  // checkpointed, asks to be requeued
};

// An error with the exit code the process ends with. The message names the part, the value, what was expected and what to do.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

template <class... Args>
Error failure(fmt::format_string<Args...> format, Args&&... args) {
  return {ExitCode::kFailure, fmt::format(format, std::forward<Args>(args)...)};
}
template <class... Args>
Error usage_error(fmt::format_string<Args...> format, Args&&... args) {
  return {ExitCode::kUsage, fmt::format(format, std::forward<Args>(args)...)};
}
template <class... Args>
Error data_error(fmt::format_string<Args...> format, Args&&... args) {
  return {ExitCode::kData, fmt::format(format, std::forward<Args>(args)...)};
}
template <class... Args>
Error network_error(fmt::format_string<Args...> format, Args&&... args) {
  return {ExitCode::kNetwork, fmt::format(format, std::forward<Args>(args)...)};
}

}  // namespace nabla
