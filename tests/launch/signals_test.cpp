#include "launch/signals.h"

#include "tests/testing.h"

#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <mutex>

using namespace nabla;

namespace {

void wait_for_stop(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait(lock, stop, [] { return false; });
}

// Each in a process of its own: signals have one listener a process, and a second one ends it. Returns the exit code, 128 + n for a signal.
template <class Body>
int run_apart(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // a signal that is lost shows as code 142
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

TEST_CASE("SIGUSR1 asks to be started again, other signals and who asks without one do not") {
  for (const auto& [number, asks] : {std::pair{SIGUSR1, true}, {SIGTERM, false}, {0, false}}) {
    const int code = run_apart([&] {
      StopSignals signals;
      if (number == 0) signals.source().request_stop();
      if (number != 0) kill(getpid(), number);
      wait_for_stop(signals.token());
      _exit(signals.asks_requeue() == asks && signals.by_signal() == (number != 0) ? 0 : 1);
    });
    CHECK(code == 0);
  }
}

TEST_CASE("the first signal of each kind asks to stop") {
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) {
    const int code = run_apart([&] {
      StopSignals signals;
      if (signals.token().stop_requested()) _exit(1);
      kill(getpid(), number);
      wait_for_stop(signals.token());
    });
    CHECK(code == 0);
  }
}

TEST_CASE("a second SIGINT ends the process at once") {
  const int code = run_apart([] {
    StopSignals signals;
    kill(getpid(), SIGINT);
    wait_for_stop(signals.token());
    kill(getpid(), SIGINT);
    for (;;) pause();
  });
  CHECK(code == 128 + SIGINT);
}

TEST_CASE("SIGTERM and SIGUSR1 change nothing more once the process was asked to stop, whoever sends them and how often") {
  for (const SecondSignal second : {SecondSignal::kEndsProcess, SecondSignal::kHurries}) {
    const int code = run_apart([&] {
      StopSignals signals(second);
      kill(getpid(), SIGTERM);
      wait_for_stop(signals.token());
      for (int i = 0; i < 20; ++i) {
        kill(getpid(), SIGTERM);
        kill(getpid(), SIGUSR1);
        usleep(5'000);  // each is taken on its own; one that ended the process would do so here
      }
      _exit(signals.hurry_token().stop_requested() ? 1 : 0);
    });
    CHECK(code == 0);
  }
}

TEST_CASE("a SIGINT that comes beside the SIGTERM of a supervisor is the same request") {
  const int code = run_apart([] {
    StopSignals signals;
    kill(getpid(), SIGTERM);
    wait_for_stop(signals.token());
    kill(getpid(), SIGINT);
    usleep(50'000);
    _exit(7);
  });
  CHECK(code == 7);
}

TEST_CASE("a closed pipe does not kill a process that listens to signals") {
  const int code = run_apart([] {
    StopSignals signals;
    int ends[2];
    if (pipe(ends) != 0) _exit(1);
    close(ends[0]);
    if (write(ends[1], "x", 1) != -1) _exit(2);
  });
  CHECK(code == 0);
}

TEST_CASE("who asks for it is told of a SIGINT after the first signal, and another one ends the process") {
  for (const int first : {SIGINT, SIGTERM}) {
    const int code = run_apart([&] {
      StopSignals signals(SecondSignal::kHurries);
      kill(getpid(), first);
      wait_for_stop(signals.token());
      if (signals.hurry_token().stop_requested()) _exit(1);
      kill(getpid(), SIGINT);
      wait_for_stop(signals.hurry_token());
      kill(getpid(), SIGINT);
      for (;;) pause();
    });
    CHECK(code == 128 + SIGINT);
  }
}
