#include "launch/supervisor.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace nabla {

namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(50);

// The error that an ended process left at the end of its output file; empty if it left none.
std::string last_words(const std::string& output_file) {
  constexpr std::streamoff kTail = 4096;
  std::ifstream file(output_file, std::ios::ate);
  const std::streamoff size = file.tellg();
  file.seekg(std::max<std::streamoff>(0, size - kTail));
  std::string words;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("nabla: ")) words = ": " + line.substr(7);
  }
  return words;
}

bool is_permanent(ChildExit exit) {
  return exit == static_cast<int>(ExitCode::kUsage) || exit == static_cast<int>(ExitCode::kData);
}

// Why an actor would fail again.
struct GaveUp {
  ChildExit exit = 0;
  std::string why;
};

// One actor's place: its process, and when to start it again.
struct ActorPlace {
  const ChildCommand* command = nullptr;
  std::optional<ChildProcess> process = std::nullopt;
  double backoff_s = 0.0, start_at = 0.0, started = 0.0;
  std::optional<GaveUp> gave_up = std::nullopt;
  bool left = false;  // it was told that the run is over, or to go
};

class Fleet {
 public:
  Fleet(const FleetCommands& commands, std::stop_token stop) : commands_(commands), stop_(std::move(stop)), learner_(commands.learner) {
    for (const auto& command : commands.actors) actors_.push_back({.command = &command, .backoff_s = commands.first_backoff_s});
  }

  FleetOutcome run() {
    while (!learner_.poll()) {
      if (stop_.stop_requested()) return stop_all(std::nullopt);
      if (const auto end = look_after_actors()) {
        outcome_.gave_up = end->why;
        return stop_all(end->exit);
      }
      wait();
    }
    if (*learner_.poll() > 128) log_error("the learner was ended by signal {}; what it had acknowledged stands in its log", *learner_.poll() - 128);
    return stop_all(std::nullopt);
  }

 private:
  // How the last one ended, once no actor can ever work.
  std::optional<GaveUp> look_after_actors() {
    bool any_alive = actors_.empty();
    std::optional<GaveUp> last_end;
    for (std::size_t i = 0; i < actors_.size(); ++i) {
      ActorPlace& actor = actors_[i];
      if (actor.gave_up) {
        last_end = actor.gave_up;
        continue;
      }
      any_alive = true;
      if (actor.left) continue;
      if (!actor.process) {
        start_when_due(actor);
        continue;
      }
      if (const auto exit = actor.process->poll()) mourn(i, actor, *exit);
    }
    return any_alive ? std::nullopt : last_end;
  }

  void start_when_due(ActorPlace& actor) {
    if (monotonic_seconds() < actor.start_at) return;
    actor.process.emplace(*actor.command);
    actor.started = monotonic_seconds();
  }

  void mourn(std::size_t number, ActorPlace& actor, ChildExit exit) {
    actor.process.reset();
    if (exit == 0) {
      actor.left = true;
      return;
    }
    if (is_permanent(exit)) {
      const std::string words = last_words(actor.command->output_file), why = fmt::format("exit code {}{}", exit, words);
      // All actors of a run fail alike: said once.
      const bool is_said = std::any_of(actors_.begin(), actors_.end(), [&](const auto& other) { return other.gave_up && other.gave_up->why == why; });
      if (!is_said) log_error("actor {} ended with exit code {} and would again{} (logs/actor-{}.log)", number, exit, words, number);
      actor.gave_up = {exit, why};
      return;
    }
    // An actor that worked for a while starts over with a short back-off.
    if (monotonic_seconds() - actor.started > commands_.longest_backoff_s) actor.backoff_s = commands_.first_backoff_s;
    actor.start_at = monotonic_seconds() + actor.backoff_s;
    const std::string why = exit > 128 ? fmt::format("signal {}", exit - 128) : fmt::format("exit code {}{}", exit, last_words(actor.command->output_file));
    log_warning("actor {} ended ({}); starting it again in {:.0f} s", number, why, actor.backoff_s);
    actor.backoff_s = std::min(2.0 * actor.backoff_s, commands_.longest_backoff_s);
    ++outcome_.actor_restarts;
  }

  // Asks everybody to end, waits for the grace period, then kills. Actors go with the learner: it tells them that the run is over.
  FleetOutcome stop_all(std::optional<ChildExit> reason) {
    const double deadline = monotonic_seconds() + commands_.grace_s;
    signal_all(SIGTERM);
    while (any_running() && monotonic_seconds() < deadline) std::this_thread::sleep_for(kLookEvery);
    if (any_running()) log_warning("the fleet did not end within {:.0f} s; killing what is left", commands_.grace_s);
    signal_all(SIGKILL);
    while (!learner_.poll()) std::this_thread::sleep_for(kLookEvery);
    outcome_.learner_exit = reason.value_or(*learner_.poll());
    return outcome_;
  }

  void signal_all(int number) {
    learner_.signal(number);
    for (auto& actor : actors_) {
      if (actor.process) actor.process->signal(number);
    }
  }

  bool any_running() {
    return !learner_.poll() || std::any_of(actors_.begin(), actors_.end(), [](auto& actor) { return actor.process && !actor.process->poll(); });
  }

  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop_, kLookEvery, [] { return false; });
  }

  const FleetCommands& commands_;
  std::stop_token stop_;
  ChildProcess learner_;
  std::vector<ActorPlace> actors_;
  FleetOutcome outcome_;
  std::mutex mutex_;                        // only for the interruptible wait
  std::condition_variable_any changed_;
};

}  // namespace

FleetOutcome supervise(const FleetCommands& commands, std::stop_token stop) { return Fleet(commands, std::move(stop)).run(); }

}  // namespace nabla
