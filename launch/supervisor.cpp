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
#include <utility>

namespace nabla {

namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(50);
// Actors that outlive their learner get a second signal after this share of the grace period.
constexpr double kHurryShare = 0.25;

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

bool is_permanent(ChildExit exit) { return exit == static_cast<int>(ExitCode::kUsage) || exit == static_cast<int>(ExitCode::kData); }

// Why an actor would fail again.
struct GaveUp {
  ChildExit exit = 0;
  std::string why;
};

// One actor's place: its process, and when to start it again.
struct ActorPlace {
  ChildCommand command;
  std::optional<ChildProcess> process = std::nullopt;
  double backoff_s = 0.0, start_at = 0.0, started = 0.0;
  std::int64_t restarts = 0;
  std::string last_end = {};
  std::optional<GaveUp> gave_up = std::nullopt;
  bool left = false;                                    // it was told that the run is over, or to go
  std::optional<double> asked_to_leave = std::nullopt;  // when, by us
};

std::string state_of(const ActorPlace& actor) {
  if (actor.process) return actor.asked_to_leave ? "leaves when its ticket is done" : "running";
  if (actor.gave_up) return fmt::format("would fail again: {}", actor.gave_up->why);
  if (actor.left) return "left by itself; nabla scale starts it again";
  if (actor.last_end.empty()) return "starting";
  return fmt::format("ended ({}); starts again in {:.0f} s", actor.last_end, std::max(0.0, actor.start_at - monotonic_seconds()));
}

class Fleet {
 public:
  Fleet(const FleetCommands& commands, FleetControl& control, std::stop_token stop)
      : commands_(commands), control_(control), stop_(std::move(stop)), learner_(commands.learner) {
    want(commands.num_actors);
  }

  FleetOutcome run() {
    while (!learner_.poll() || start_learner_again()) {
      if (stop_.stop_requested()) return stop_all(std::nullopt);
      if (const auto order = control_.take_order()) follow(*order);
      if (const auto end = look_after_actors()) {
        outcome_.gave_up = end->why;
        return stop_all(end->exit);
      }
      control_.show(view());
      wait();
    }
    if (*learner_.poll() > 128)
      log_error("the learner was ended by signal {}; what it had acknowledged stands in its log", *learner_.poll() - 128);
    return stop_all(std::nullopt);
  }

 private:
  void want(std::int64_t num_actors) {
    wanted_ = static_cast<std::size_t>(num_actors);
    for (std::size_t i = actors_.size(); i < wanted_; ++i) {
      actors_.push_back({.command = commands_.actor(static_cast<std::int64_t>(i)), .backoff_s = commands_.first_backoff_s});
    }
  }

  void follow(std::int64_t num_actors) {
    log_info("scaling from {} to {} actors", wanted_, num_actors);
    want(num_actors);
    for (std::size_t i = 0; i < wanted_; ++i) {
      actors_[i].left = false;
      actors_[i].gave_up.reset();  // what was wrong may have been mended
    }
  }

  FleetView view() {
    FleetView view{.learner_pid = learner_.pid(), .actors_wanted = static_cast<std::int64_t>(wanted_), .actors = {}};
    for (std::size_t i = 0; i < actors_.size(); ++i) {
      const ActorPlace& actor = actors_[i];
      if (i >= wanted_ && !actor.process) continue;
      view.actors.push_back({static_cast<std::int64_t>(i), actor.restarts, actor.process ? actor.process->pid() : 0, state_of(actor)});
    }
    return view;
  }

  // How the last one ended, once no actor can ever work.
  std::optional<GaveUp> look_after_actors() {
    bool any_alive = wanted_ == 0;
    std::optional<GaveUp> last_end;
    for (std::size_t i = 0; i < actors_.size(); ++i) {
      ActorPlace& actor = actors_[i];
      if (i >= wanted_ || actor.asked_to_leave) see_off(i, actor);
      if (i >= wanted_) continue;
      if (actor.gave_up) {
        last_end = actor.gave_up;
        continue;
      }
      any_alive = true;
      if (actor.left) continue;
      if (!actor.process) {
        start_when_due(i, actor);
        continue;
      }
      const auto exit = actor.process->poll();
      if (exit && !actor.asked_to_leave) mourn(i, actor, *exit);
    }
    return any_alive ? std::nullopt : last_end;
  }

  void start_when_due(std::size_t number, ActorPlace& actor) {
    if (monotonic_seconds() < actor.start_at) return;
    try {
      actor.process.emplace(actor.command);
      actor.started = monotonic_seconds();
    } catch (const Error& error) {
      put_off(number, actor, error.what());  // no reason to end the learner
    }
  }

  // Nobody is mourned who was asked to leave, however it ended.
  void see_off(std::size_t number, ActorPlace& actor) {
    if (actor.process && actor.process->poll()) {
      log_info("actor {} has left", number);
      actor.process.reset();
    }
    if (!actor.process) {
      actor.asked_to_leave.reset();
      return;
    }
    if (!actor.asked_to_leave) {
      actor.asked_to_leave = monotonic_seconds();
      actor.process->signal(SIGTERM);
    }
    if (monotonic_seconds() - *actor.asked_to_leave < commands_.leave_s) return;
    log_warning("actor {} did not leave within {:.0f} s; killing it", number, commands_.leave_s);
    actor.process->signal(SIGKILL);
  }

  void mourn(std::size_t number, ActorPlace& actor, ChildExit exit) {
    actor.process.reset();
    if (exit == 0) {
      actor.left = actor.started >= learner_started_at_;  // else a learner that failed since then told it that the run was over
      return;
    }
    if (is_permanent(exit)) {
      const std::string words = last_words(actor.command.output_file), why = fmt::format("exit code {}{}", exit, words);
      // All actors of a run fail alike: said once.
      const bool is_said =
          std::any_of(actors_.begin(), actors_.end(), [&](const auto& other) { return other.gave_up && other.gave_up->why == why; });
      if (!is_said) log_error("actor {} ended with exit code {} and would again{} (logs/actor-{}.log)", number, exit, words, number);
      actor.gave_up = {exit, why};
      return;
    }
    // An actor that worked for a while starts over with a short back-off.
    if (monotonic_seconds() - actor.started > commands_.longest_backoff_s) actor.backoff_s = commands_.first_backoff_s;
    put_off(number, actor,
            exit > 128 ? fmt::format("signal {}", exit - 128) : fmt::format("exit code {}{}", exit, last_words(actor.command.output_file)));
  }

  void put_off(std::size_t number, ActorPlace& actor, const std::string& why) {
    actor.start_at = monotonic_seconds() + actor.backoff_s;
    actor.last_end = why;
    log_warning("actor {} ended ({}); starting it again in {:.0f} s", number, why, actor.backoff_s);
    actor.backoff_s = std::min(2.0 * actor.backoff_s, commands_.longest_backoff_s);
    ++actor.restarts;
    ++outcome_.actor_restarts;
  }

  // Whether there is a learner, or there will be. It is put off first, and started when its time has come.
  bool start_learner_again() {
    const ChildExit exit = *learner_.poll();
    if (!learner_start_at_) {
      if (!may_start_again(exit)) return false;
      learner_start_at_ = monotonic_seconds() + learner_backoff_s_;
      log_warning("the learner ended ({}); starting it again from its checkpoint in {:.0f} s",
                  exit > 128 ? fmt::format("signal {}", exit - 128) : fmt::format("exit code {}", exit), learner_backoff_s_);
      learner_backoff_s_ = std::min(2.0 * learner_backoff_s_, commands_.longest_backoff_s);
    }
    if (monotonic_seconds() < *learner_start_at_) return true;
    learner_start_at_.reset();
    ++outcome_.learner_restarts;
    learner_began_at_ = updates_done();
    learner_ = ChildProcess(commands_.learner_again);
    learner_started_at_ = monotonic_seconds();
    for (auto& actor : actors_) actor.left = false;
    return true;
  }

  // Not where it would end the same way: a lost peer is worth another start only if the run came further since the last one.
  bool may_start_again(ChildExit exit) const {
    if (outcome_.learner_restarts >= commands_.max_learner_restarts || stop_.stop_requested()) return false;
    return exit > 128 || (exit == static_cast<int>(ExitCode::kNetwork) && updates_done() > learner_began_at_);
  }

  std::int64_t updates_done() const { return commands_.updates_done ? commands_.updates_done() : 0; }

  // Asks everybody to end, and kills who does not within its grace period. Actors go with the learner: it tells them that the run is over. Those that
  // nobody told anything are hurried.
  FleetOutcome stop_all(std::optional<ChildExit> reason) {
    const double start = monotonic_seconds();
    std::optional<double> learner_ended;
    bool hurried = false;
    learner_.signal(commands_.stop_signal ? commands_.stop_signal() : SIGTERM);
    signal_actors(SIGTERM);
    while (any_running()) {
      const double now = monotonic_seconds();
      if (learner_.poll() && !learner_ended) learner_ended = now;
      if (now > (learner_ended ? *learner_ended + commands_.grace_s : start + commands_.learner_grace_s)) break;
      if (!hurried && learner_ended && now > *learner_ended + kHurryShare * commands_.grace_s) {
        signal_actors(SIGINT);
        hurried = true;
      }
      std::this_thread::sleep_for(kLookEvery);
    }
    if (any_running()) log_warning("the fleet did not end within {:.0f} s; killing what is left", monotonic_seconds() - start);
    learner_.signal(SIGKILL);
    signal_actors(SIGKILL);
    while (!learner_.poll()) std::this_thread::sleep_for(kLookEvery);
    outcome_.learner_exit = reason.value_or(*learner_.poll());
    return outcome_;
  }

  void signal_actors(int number) {
    for (auto& actor : actors_) {
      if (actor.process) actor.process->signal(number);
    }
  }

  bool any_running() {
    return !learner_.poll() ||
           std::any_of(actors_.begin(), actors_.end(), [](auto& actor) { return actor.process && !actor.process->poll(); });
  }

  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop_, kLookEvery, [] { return false; });
  }

  const FleetCommands& commands_;
  FleetControl& control_;
  std::stop_token stop_;
  ChildProcess learner_;
  std::optional<double> learner_start_at_;  // while none runs
  double learner_backoff_s_ = commands_.first_backoff_s;
  double learner_started_at_ = 0;      // again
  std::int64_t learner_began_at_ = 0;  // updates that were done when it was started
  std::size_t wanted_ = 0;
  std::vector<ActorPlace> actors_;  // those of higher numbers than wanted_ are on their way out, or gone
  FleetOutcome outcome_;
  std::mutex mutex_;  // only for the interruptible wait
  std::condition_variable_any changed_;
};

}  // namespace

void FleetControl::scale_to(std::int64_t num_actors) {
  const std::lock_guard lock(mutex_);
  order_ = num_actors;
  view_.actors_wanted = num_actors;
}

FleetView FleetControl::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

std::optional<std::int64_t> FleetControl::take_order() {
  const std::lock_guard lock(mutex_);
  return std::exchange(order_, std::nullopt);
}

void FleetControl::show(FleetView view) {
  const std::lock_guard lock(mutex_);
  if (!order_) view_ = std::move(view);
}

FleetOutcome supervise(const FleetCommands& commands, FleetControl& control, std::stop_token stop) {
  return Fleet(commands, control, std::move(stop)).run();
}

}  // namespace nabla
