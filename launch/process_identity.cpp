#include "launch/process_identity.h"

#include <fmt/format.h>
#include <sys/types.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <iterator>
#include <sstream>

namespace nabla {

namespace {

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  file >> id;
  return id;
}

}  // namespace

std::string birth_of(std::int64_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  const std::string stat{std::istreambuf_iterator<char>(file), {}};
  // Its second field is a name in parentheses, which may hold anything; the start is field 22.
  const std::size_t after_name = stat.rfind(')');
  if (after_name == std::string::npos) return "";
  std::istringstream fields(stat.substr(after_name + 1));
  std::string state, field;
  fields >> state;
  if (state == "Z" || state == "X") return "";
  for (int number = 4; number <= 22; ++number) fields >> field;
  return fmt::format("{}@{}", field, boot_id());
}

bool is_same_process(std::int64_t pid, const std::string& birth) {
  if (pid <= 0) return false;
  const bool is_others = ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == EPERM;
  const std::string now = birth_of(pid);
  if (now.empty()) return is_others;  // /proc may hide it
  return birth.empty() || birth == now;
}

}  // namespace nabla
