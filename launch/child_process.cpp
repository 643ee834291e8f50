#include "launch/child_process.h"

#include "common/error.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace nabla {

namespace {

// Between fork and exec only async-signal-safe calls are allowed, so everything is laid out before.
[[noreturn]] void become(const std::vector<char*>& argv, const std::vector<char*>& environment, int output, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  setpgid(0, 0);
  // A signal that came since the fork ends this process; our handlers would take it for one of the parent's.
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) std::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (output >= 0) {
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
  }
  execve(argv.front(), argv.data(), environment.data());
  _exit(127);
}

std::vector<std::string> merged_environment(const std::vector<std::pair<std::string, std::string>>& extra) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const bool replaced = std::any_of(extra.begin(), extra.end(), [&](const auto& pair) { return text.starts_with(pair.first + "="); });
    if (!replaced) merged.push_back(text);
  }
  for (const auto& [name, value] : extra) merged.push_back(name + "=" + value);
  return merged;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (auto& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

}  // namespace

ChildProcess::ChildProcess(const ChildCommand& command) {
  std::vector<std::string> arguments = command.arguments;
  std::vector<std::string> variables = merged_environment(command.environment);
  const std::vector<char*> argv = pointers(arguments), environment = pointers(variables);
  if (::access(argv.front(), X_OK) != 0) throw failure("[launch] cannot start '{}': {}", arguments.front(), std::strerror(errno));
  int output = -1;
  if (!command.output_file.empty()) {
    output = ::open(command.output_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (output < 0) throw failure("[launch] cannot write '{}': {}", command.output_file, std::strerror(errno));
  }
  const pid_t parent = getpid();
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_ = fork();
  if (pid_ == 0) become(argv, environment, output, parent);
  const int reason = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (output >= 0) ::close(output);
  if (pid_ < 0) throw failure("[launch] cannot start '{}': {}", arguments.front(), std::strerror(reason));
}

ChildProcess::~ChildProcess() {
  if (pid_ <= 0 || poll()) return;
  ::kill(pid_, SIGKILL);
  int status = 0;
  waitpid(pid_, &status, 0);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)), exit_(other.exit_) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(exit_, other.exit_);
  return *this;
}

std::optional<ChildExit> ChildProcess::poll() {
  if (exit_ || pid_ <= 0) return exit_;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_;
}

void ChildProcess::signal(int number) {
  if (!poll()) ::kill(pid_, number);
}

}  // namespace nabla
