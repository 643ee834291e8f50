#include "launch/machine.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <thread>

namespace nabla {

namespace fs = std::filesystem;

namespace {

// The first word of a one-line file as a number; nothing for "max" and where there is no such file.
std::optional<double> number_in(const char* path) {
  std::ifstream file(path);
  double value = 0.0;
  return file >> value ? std::optional(value) : std::nullopt;
}

// cpu.max holds "<quota or max> <period>" in microseconds.
std::optional<double> group_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double quota = 0.0, period = 0.0;
  return file >> quota >> period && period > 0.0 ? std::optional(quota / period) : std::nullopt;
}

std::optional<double> group_memory_left() {
  const auto limit = number_in("/sys/fs/cgroup/memory.max"), used = number_in("/sys/fs/cgroup/memory.current");
  return limit && used ? std::optional(std::max(*limit - *used, 0.0)) : std::nullopt;
}

double system_memory_available() {
  std::ifstream file("/proc/meminfo");
  std::string name, unit;
  double kibibytes = 0.0;
  while (file >> name >> kibibytes) {
    if (name == "MemAvailable:") return kibibytes * 1024.0;
    std::getline(file, unit);
  }
  return 0.0;
}

}  // namespace

std::string name_of_this_machine() {
  char name[256] = "unknown";
  gethostname(name, sizeof(name) - 1);
  return name;
}

double usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const bool known = sched_getaffinity(0, sizeof(set), &set) == 0;
  const double cores = known ? CPU_COUNT(&set) : std::max(1U, std::thread::hardware_concurrency());
  return std::min(cores, group_cores().value_or(cores));
}

std::uint64_t available_memory_bytes() {
  const double system = system_memory_available();
  return static_cast<std::uint64_t>(std::min(system, group_memory_left().value_or(system)));
}

std::uint64_t open_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::numeric_limits<std::uint64_t>::max();
  return limit.rlim_cur;
}

void raise_open_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::string nearest_existing_folder(const std::string& path) {
  fs::path folder = fs::absolute(path).lexically_normal();
  while (!fs::is_directory(folder) && folder.has_relative_path()) folder = folder.parent_path();
  return folder.string();
}

std::uint64_t free_disk_bytes(const std::string& path) {
  std::error_code error;
  const fs::space_info space = fs::space(nearest_existing_folder(path), error);
  return error ? 0 : space.available;
}

}  // namespace nabla
