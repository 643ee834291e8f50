// Ranks as processes, one of which is killed or frozen inside a collective.
#include "learner/group/rendezvous_socket.h"
#include "tests/fleet/process.h"
#include "tests/testing.h"

#include <csignal>
#include <cstdlib>
#include <memory>

namespace nabla {
namespace {

constexpr double kDeadline_s = 4.0;  // of a collective
constexpr double kSlack_s = 6.0;     // a busy machine, and the end of the process

class Ranks {
 public:
  explicit Ranks(const std::vector<std::string>& tasks) {
    const int port = RendezvousSocket("127.0.0.1", 0).port();
    for (std::size_t rank = 0; rank < tasks.size(); ++rank) {
      std::vector<std::string> arguments{NABLA_GROUP_WORKER,
                                         std::to_string(rank),
                                         std::to_string(tasks.size()),
                                         std::to_string(port),
                                         "4",
                                         tasks[rank].substr(0, tasks[rank].find(' '))};
      if (const auto blank = tasks[rank].find(' '); blank != std::string::npos) arguments.push_back(tasks[rank].substr(blank + 1));
      processes_.push_back(std::make_unique<Process>(arguments));
    }
  }
  Process& operator[](std::size_t rank) { return *processes_[rank]; }
  void wait_until_working() {
    for (auto& process : processes_)
      REQUIRE(wait_until([&] { return process->output().find("working") != std::string::npos; }, kRunDeadline));
  }

 private:
  std::vector<std::unique_ptr<Process>> processes_;
};

// NABLA_TEST_REPEATS=20 repeats what depends on the moment.
int repeats() {
  const char* text = std::getenv("NABLA_TEST_REPEATS");
  return text == nullptr ? 2 : std::atoi(text);
}

void check_survivor(Process& survivor, int lost, double deadline_s) {
  const Outcome outcome = survivor.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 4);
  CHECK(outcome.says(lost == 0 ? "rank 0 has been silent" : "rank 1 has been silent"));
  CHECK(outcome.says("dead or frozen"));
  CHECK(outcome.seconds < deadline_s);
}

TEST_CASE("ranks that are processes add up and end well") {
  Ranks ranks({"sum 20", "sum 20", "sum 20"});
  for (std::size_t rank = 0; rank < 3; ++rank) {
    const Outcome outcome = ranks[rank].wait();
    INFO(outcome.output);
    CHECK(outcome.exit == 0);
    CHECK(outcome.says("sum 63"));
  }
}

TEST_CASE("who waits for a rank that is killed says who it was, and exits with 4") {
  for (int i = 0; i < repeats(); ++i) {
    for (const int lost : {1, 0}) {
      for (const char* task : {"loop", "absent"}) {
        CAPTURE(task);
        CAPTURE(lost);
        Ranks ranks(lost == 1 ? std::vector<std::string>{"loop", task} : std::vector<std::string>{task, "loop"});
        ranks.wait_until_working();
        Process& survivor = ranks[static_cast<std::size_t>(1 - lost)];
        survivor.mark();
        ranks[static_cast<std::size_t>(lost)].signal(SIGKILL);
        check_survivor(survivor, lost, kDeadline_s + kSlack_s);
      }
    }
  }
}

TEST_CASE("who waits for a rank that is frozen says who it was within the deadline, and exits with 4") {
  for (int i = 0; i < repeats(); ++i) {
    for (const int lost : {1, 0}) {
      CAPTURE(lost);
      Ranks ranks({"loop", "loop"});
      ranks.wait_until_working();
      Process& survivor = ranks[static_cast<std::size_t>(1 - lost)];
      survivor.mark();
      ranks[static_cast<std::size_t>(lost)].signal(SIGSTOP);
      check_survivor(survivor, lost, kDeadline_s + kSlack_s);
    }
  }
}

TEST_CASE("of three ranks the two that are left both name the one that was killed") {
  Ranks ranks({"loop", "loop", "loop"});
  ranks.wait_until_working();
  ranks[1].signal(SIGKILL);
  check_survivor(ranks[0], 1, kRunDeadline);
  check_survivor(ranks[2], 1, kRunDeadline);
}

TEST_CASE("a rank that gives up is heard by the others, with its reason") {
  Ranks ranks({"loop", "fail"});
  const Outcome outcome = ranks[0].wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 4);
  CHECK(outcome.says("rank 1 stopped: its disk is full"));
}

}  // namespace
}  // namespace nabla
