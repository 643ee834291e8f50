#pragma once

#include "launch/child_process.h"
#include "tests/common/temporary_folder.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace nabla {

// Looks again and again until the condition holds; false if it does not within the deadline. The one place of these tests that sleeps.
bool wait_until(const std::function<bool()>& holds, double deadline_s);

// More than any run here takes, even on a machine that is busy with something else.
inline constexpr double kRunDeadline = 120.0;

struct Outcome {
  ChildExit exit = 0;
  double seconds = 0;
  std::string output;  // stdout and stderr
  bool says(const std::string& part) const { return output.find(part) != std::string::npos; }
};

struct RunningProcess {
  pid_t pid = 0;
  std::string command_line;  // words separated by spaces
};

// Processes that `parent` has started and that have not ended.
std::vector<RunningProcess> children_of(pid_t parent);
// False for a zombie too.
bool is_alive(pid_t pid);

// A process with a process group and an output file of its own. Killed with its group when it goes out of scope; the kernel kills what nabla started.
class Process {
 public:
  explicit Process(std::vector<std::string> arguments);
  ~Process();

  pid_t pid() const { return child_->pid(); }
  void signal(int number) { child_->signal(number); }
  void signal_group(int number) const;
  bool ended() { return child_->poll().has_value(); }
  // Fails the test, and kills, if it does not end in time. `seconds` counts from the last mark(), first set by the start.
  Outcome wait(double deadline_s = kRunDeadline);
  void mark();
  std::string output() const;

 private:
  TemporaryFolder folder_;
  std::optional<ChildProcess> child_;
  double marked_at_ = 0;
};

// The nabla binary with one thread.
std::vector<std::string> nabla_command(const std::vector<std::string>& arguments);
// From start to end.
Outcome run_nabla(const std::vector<std::string>& arguments);
// Five seconds are prompt; where the machine is so busy that loading the binary alone takes long, a few times as long as that.
bool is_prompt(double seconds);

}  // namespace nabla
