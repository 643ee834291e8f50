#include "launch/process_identity.h"

#include "tests/launch/shell_child.h"
#include "tests/testing.h"

#include <unistd.h>

using namespace nabla;

TEST_CASE("a process is told from another one of the same number by its birth") {
  const std::string own = birth_of(getpid());
  CHECK_FALSE(own.empty());
  CHECK(own == birth_of(getpid()));
  CHECK(is_same_process(getpid(), own));
  CHECK_FALSE(is_same_process(getpid(), "1" + own));
  CHECK(is_same_process(getpid(), ""));  // a file of an earlier version says no more than the number
  CHECK_FALSE(is_same_process(0, own));
}

TEST_CASE("a process that has ended is not alive, reaped or not") {
  ChildProcess child(shell("exec sleep 600"));
  const std::string birth = birth_of(child.pid());
  CHECK(is_same_process(child.pid(), birth));
  child.signal(SIGKILL);
  siginfo_t info{};
  waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT);
  CHECK_FALSE(is_same_process(child.pid(), birth));
  CHECK_FALSE(is_same_process(child.pid(), ""));
  CHECK(child.poll());
  CHECK_FALSE(is_same_process(child.pid(), birth));
}
