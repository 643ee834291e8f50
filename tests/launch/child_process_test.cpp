#include "launch/child_process.h"

#include "common/files.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/launch/shell_child.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>

using namespace nabla;

namespace {

constexpr std::size_t kMaxBytes = 1 << 16;

}  // namespace

TEST_CASE("a child's exit code comes back, again and again") {
  ChildProcess child(shell("exit 7"));
  CHECK(wait_for(child) == 7);
  CHECK(child.poll() == 7);
}

TEST_CASE("a child that a signal killed counts as 128 and the signal") {
  ChildProcess child(shell("kill -9 $$"));
  CHECK(wait_for(child) == 128 + SIGKILL);
}

TEST_CASE("a running child has no exit code, and is reached by signals") {
  const TemporaryFolder folder;
  const Signpost started(folder.file("started"));
  ChildProcess child(shell("trap 'exit 5' USR2; " + started.announce() + "; while :; do sleep 0.01; done"));
  CHECK(started.wait() == "here");
  CHECK_FALSE(child.poll().has_value());
  child.signal(SIGUSR2);
  CHECK(wait_for(child) == 5);
}

TEST_CASE("both outputs of a child are appended to its file") {
  const TemporaryFolder folder;
  write_file(folder.file("log"), "before\n");
  for (const char* word : {"one", "two"}) {
    ChildProcess child(shell(std::string("echo ") + word + "; echo error >&2", folder.file("log")));
    CHECK(wait_for(child) == 0);
  }
  CHECK(read_file(folder.file("log"), kMaxBytes) == "before\none\nerror\ntwo\nerror\n");
}

TEST_CASE("a child's environment is ours with its own on top") {
  const TemporaryFolder folder;
  setenv("NABLA_TEST_KEPT", "kept", 1);
  setenv("NABLA_TEST_REPLACED", "old", 1);
  ChildCommand command = shell("echo $NABLA_TEST_KEPT $NABLA_TEST_REPLACED $NABLA_TEST_ADDED", folder.file("log"));
  command.environment = {{"NABLA_TEST_REPLACED", "new"}, {"NABLA_TEST_ADDED", "added"}};
  ChildProcess child(command);
  CHECK(wait_for(child) == 0);
  CHECK(read_file(folder.file("log"), kMaxBytes) == "kept new added\n");
}

TEST_CASE("a child leads a process group of its own, out of a terminal's reach") {
  const TemporaryFolder folder;
  const Signpost started(folder.file("started"));
  ChildProcess child(shell(started.announce() + "; exec sleep 60"));
  started.wait();
  CHECK(getpgid(child.pid()) == child.pid());
  CHECK(getpgid(0) != child.pid());
}

TEST_CASE("a child does not inherit blocked signals") {
  const TemporaryFolder folder;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  const Signpost started(folder.file("started"));
  ChildProcess child(shell(started.announce() + "; exec sleep 60"));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  started.wait();
  child.signal(SIGTERM);
  CHECK(wait_for(child) == 128 + SIGTERM);
}

TEST_CASE("a child that nobody holds any more is killed and reaped") {
  pid_t pid = -1;
  {
    const ChildProcess child(shell("exec sleep 60"));
    pid = child.pid();
    CHECK(kill(pid, 0) == 0);
  }
  CHECK(kill(pid, 0) == -1);
  CHECK(errno == ESRCH);
}

TEST_CASE("moving a child moves its care") {
  ChildProcess first(shell("exec sleep 60"));
  const pid_t pid = first.pid();
  ChildProcess second(std::move(first));
  CHECK(second.pid() == pid);
  second.signal(SIGKILL);
  CHECK(wait_for(second) == 128 + SIGKILL);
}

TEST_CASE("a program that is not there is named") {
  check_error(
      ExitCode::kFailure, [] { ChildProcess child({.arguments = {"/no/such/program"}, .environment = {}, .output_file = {}}); },
      "/no/such/program", "No such file");
}

TEST_CASE("an output file that cannot be written is named") {
  check_error(
      ExitCode::kFailure, [] { ChildProcess child(shell("exit 0", "/no/such/folder/log")); }, "/no/such/folder/log");
}
