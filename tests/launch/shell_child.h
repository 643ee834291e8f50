#pragma once

#include "common/error.h"
#include "launch/child_process.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include <fstream>
#include <string>

namespace nabla {

// A child that runs a line of /bin/sh; what it prints goes to `output_file`.
inline ChildCommand shell(const std::string& line, const std::string& output_file = "") {
  return {.arguments = {"/bin/sh", "-c", line}, .environment = {}, .output_file = output_file};
}

// Waits until the child has ended, without reaping it.
inline ChildExit wait_for(ChildProcess& child) {
  siginfo_t info{};
  waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT);
  return child.poll().value();
}

// A named pipe: a child that writes a word into it says how far it has come.
class Signpost {
 public:
  explicit Signpost(const std::string& path) : path_(path) {
    if (mkfifo(path.c_str(), 0600) != 0) throw failure("cannot make the pipe {}", path);
  }
  // To be put into a child's line.
  std::string announce() const { return "echo here > " + path_; }
  // Blocks until a child has announced itself.
  std::string wait() const {
    std::ifstream pipe(path_);
    std::string word;
    pipe >> word;
    return word;
  }

 private:
  std::string path_;
};

}  // namespace nabla
