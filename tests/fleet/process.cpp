#include "tests/fleet/process.h"

#include "common/clock.h"
#include "common/files.h"
#include "tests/testing.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

namespace nabla {

namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(10);
constexpr std::size_t kMaxOutput = 16 << 20;

std::string text_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct ProcessState {
  char state = 'X';  // as in /proc/<pid>/stat; X where there is no such process
  pid_t parent = 0;
};

ProcessState state_of(const std::string& pid) {
  const std::string stat = text_of_file("/proc/" + pid + "/stat");
  const std::size_t after_name = stat.rfind(')');
  ProcessState state;
  if (after_name == std::string::npos) return state;
  std::istringstream fields(stat.substr(after_name + 1));
  fields >> state.state >> state.parent;
  return state;
}

bool has_ended(const ProcessState& state) { return state.state == 'X' || state.state == 'Z'; }

}  // namespace

bool wait_until(const std::function<bool()>& holds, double deadline_s) {
  const double give_up = monotonic_seconds() + deadline_s;
  while (!holds()) {
    if (monotonic_seconds() > give_up) return false;
    std::this_thread::sleep_for(kLookEvery);
  }
  return true;
}

std::vector<RunningProcess> children_of(pid_t parent) {
  std::vector<RunningProcess> children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const ProcessState state = state_of(name);
    if (state.parent != parent || has_ended(state)) continue;
    std::string command_line = text_of_file("/proc/" + name + "/cmdline");
    std::replace(command_line.begin(), command_line.end(), '\0', ' ');
    children.push_back({static_cast<pid_t>(std::stol(name)), command_line});
  }
  return children;
}

bool is_alive(pid_t pid) { return !has_ended(state_of(std::to_string(pid))); }

Process::Process(std::vector<std::string> arguments) : marked_at_(monotonic_seconds()) {
  ChildCommand command;
  command.arguments = std::move(arguments);
  command.environment = {{"OMP_NUM_THREADS", "1"}, {"MKL_NUM_THREADS", "1"}, {"OMP_WAIT_POLICY", "PASSIVE"}};
  command.output_file = folder_.file("output");
  child_.emplace(command);
}

Process::~Process() { signal_group(SIGKILL); }

// The group can outlive its first process.
void Process::signal_group(int number) const { ::kill(-child_->pid(), number); }

Outcome Process::wait(double deadline_s) {
  const bool in_time = wait_until([this] { return ended(); }, deadline_s);
  const double seconds = monotonic_seconds() - marked_at_;
  INFO(output());
  if (!in_time) signal_group(SIGKILL);
  REQUIRE(in_time);
  return {child_->poll().value(), seconds, output()};
}

void Process::mark() { marked_at_ = monotonic_seconds(); }

std::string Process::output() const { return read_file(folder_.file("output"), kMaxOutput); }

std::vector<std::string> nabla_command(const std::vector<std::string>& arguments) {
  std::vector<std::string> command{NABLA_BINARY};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

Outcome run_nabla(const std::vector<std::string>& arguments) { return Process(nabla_command(arguments)).wait(); }

bool is_prompt(double seconds) {
  constexpr double kPrompt = 5.0, kLoads = 6.0;
  return seconds < kPrompt || seconds < kLoads * run_nabla({"version"}).seconds;
}

}  // namespace nabla
