#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace nabla {

struct ChildCommand {
  std::vector<std::string> arguments;                            // argv; the program first
  std::vector<std::pair<std::string, std::string>> environment;  // set on top of ours
  std::string output_file;                                       // stdout and stderr are appended here; empty: inherited
};

// How a child ended: its exit code, or 128 + the signal that killed it.
using ChildExit = int;

// A process in a group of its own (a terminal's Ctrl-C reaches only us) that is killed by the kernel when we die. Owns the child:
// destroying it kills and reaps.
class ChildProcess {
 public:
  explicit ChildProcess(const ChildCommand& command);  // failure naming the program and the system's reason
  ~ChildProcess();
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;

  pid_t pid() const { return pid_; }
  // Reaps without waiting; the exit code once it has ended.
  std::optional<ChildExit> poll();
  void signal(int number);

 private:
  pid_t pid_ = -1;
  std::optional<ChildExit> exit_;
};

}  // namespace nabla
