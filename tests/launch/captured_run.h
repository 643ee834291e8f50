#pragma once

#include "common/files.h"
#include "launch/application.h"
#include "tests/common/temporary_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

namespace nabla {

// Sends one of the process's outputs to a file while it lives.
class CapturedOutput {
 public:
  CapturedOutput(int descriptor, std::FILE* stream, std::string path) : descriptor_(descriptor), stream_(stream), path_(std::move(path)) {
    std::fflush(stream_);
    before_ = dup(descriptor_);
    const int file = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    dup2(file, descriptor_);
    close(file);
  }
  ~CapturedOutput() { restore(); }
  CapturedOutput(const CapturedOutput&) = delete;
  CapturedOutput& operator=(const CapturedOutput&) = delete;

  std::string text() {
    restore();
    return read_file(path_, std::size_t{16} << 20);
  }

 private:
  void restore() {
    if (before_ < 0) return;
    std::fflush(stream_);
    dup2(before_, descriptor_);
    close(before_);
    before_ = -1;
  }

  int descriptor_, before_ = -1;
  std::FILE* stream_;
  std::string path_;
};

struct CapturedRun {
  int code = 0;
  std::string out, err;
};

// One command line of `nabla`, in this process.
inline CapturedRun run_nabla(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "nabla");
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  const TemporaryFolder folder;
  CapturedOutput out(STDOUT_FILENO, stdout, folder.file("out")), err(STDERR_FILENO, stderr, folder.file("err"));
  CapturedRun run;
  run.code = run_application(static_cast<int>(argv.size()), argv.data());
  run.out = out.text();
  run.err = err.text();
  return run;
}

}  // namespace nabla
