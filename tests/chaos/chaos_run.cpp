#include "tests/chaos/chaos_run.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/files.h"
#include "tests/chaos/actor_crew.h"
#include "tests/chaos/fault_schedule.h"
#include "tests/chaos/power_cut.h"
#include "tests/chaos/run_commands.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <optional>
#include <thread>

namespace nabla::chaos {

namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kTurn{2};
// Patience is counted in turns of the loop below, so much for each at most: on a machine that gives it less than its due everybody has longer.
constexpr double kLongTurnS = 0.02;
constexpr double kLookEveryS = 0.02;
constexpr double kAwayS = 1.0;    // how long actors that are gone stay away
constexpr double kScaledS = 1.0;  // how long a fleet keeps its size at least
constexpr double kPromptS = 5.0;  // from the fault of a disk to the end of the learner
constexpr double kIdleS = 1.0;    // a fault that is due waits so long for the fleet to have done something since the one before
constexpr int kMaxLearnerStarts = 200;
constexpr double kNoticedHeartbeats = 8;  // three of silence, and time for a busy machine

// An empty folder by its real path, as the disk's faults see it.
ChaosOptions with_own_folder(ChaosOptions options) {
  fs::remove_all(options.folder);
  fs::create_directories(options.folder + "/acks");
  options.folder = fs::canonical(options.folder).string();
  return options;
}

RunPorts free_ports() {
  RunPorts ports{free_port(), free_port()};
  while (ports.weights == ports.control) ports.weights = free_port();
  return ports;
}

class ChaosRun {
 public:
  ChaosRun(const Scenario& scenario, const ChaosOptions& options)
      : scenario_(scenario),
        options_(with_own_folder(options)),
        schedule_(scenario.processes, options.seed),
        ports_(free_ports()),
        link_(scenario, ports_.control, ports_.weights, options.seed),
        evidence_(options_.folder),
        actors_(scenario_, options_, link_, done_),
        events_(events_left()),
        pace_(events_ > 0 || (!scenario.must.empty() && scenario.learner_failpoint.empty()) ? Pace::kHeld : Pace::kFree),
        began_(monotonic_seconds()),
        turn_at_(began_) {}

  ChaosOutcome run() {
    outcome_.skipped = link_.skipped();
    if (!outcome_.skipped.empty()) return std::move(outcome_);
    start_learner();
    while (!ended_) take_turn();
    actors_.end_all();
    learner_.reset();
    judge();
    return std::move(outcome_);
  }

 private:
  double now() const { return monotonic_seconds() - began_; }
  std::string file(const std::string& name) const { return options_.folder + "/" + name; }
  void find(const std::string& kind, const std::string& text) { outcome_.findings.push_back({kind, text}); }
  std::int64_t& count(const std::string& name) { return done_[name]; }
  std::int64_t scalings() const { return scenario_.sizes.empty() ? 0 : static_cast<std::int64_t>(scenario_.sizes.size()) - 1; }
  // Faults that are to begin yet.
  std::int64_t events_left() const {
    return static_cast<std::int64_t>(schedule_.size()) + scenario_.link.times - link_.begun() +
           (scenario_.actors_are_gone ? 1 - gone_ : 0) + scalings() - scaled_;
  }

  void start_learner() {
    learner_.emplace(learner_command(scenario_, options_, link_, ports_, pace_, count("learner_starts")++));
    learner_continue_at_ = 0;
    learner_killed_ = false;
    if (count("learner_starts") > 1) outcome_.restarts.begin(1, hellos(), patience_);
  }

  std::int64_t hellos() { return what_happened()["hellos"]; }

  // Who was cut off for so long that learner and actors noticed has to say hello.
  void move_link() {
    const bool was_on = link_.is_on();
    link_.move(now());
    if (link_.is_on()) quiet_since_ = patience_;
    if (link_.is_on() == was_on || scenario_.link.on_s < kNoticedHeartbeats * std::chrono::duration<double>(scenario_.heartbeat).count())
      return;
    if (was_on) outcome_.returns.begin(actors_.num_alive(), hellos(), patience_);
    if (!was_on) outcome_.returns.abandon();
  }

  void take_turn() {
    const double at = monotonic_seconds();
    patience_ += std::min(at - turn_at_, kLongTurnS);
    turn_at_ = at;
    look_after_learner();
    if (ended_) return;
    actors_.look_after(now(), !lacking(scenario_.first, happened_).empty());
    look_around();
    if (has_begun_) {
      do_what_is_due();
      move_link();
    }
    allow_updates();
    if (patience_ > scenario_.deadline_s && !ended_) {
      const std::string missing = lacking(scenario_.must, happened_);
      find("hang",
           fmt::format("not finished after {} s{}", scenario_.deadline_s, missing.empty() ? "" : "; there was too little of " + missing));
      ended_ = true;
    }
    std::this_thread::sleep_for(kTurn);
  }

  void look_after_learner() {
    if (learner_continue_at_ > 0 && now() >= learner_continue_at_) {
      learner_->signal(SIGCONT);
      learner_continue_at_ = 0;
    }
    const auto exit = learner_->poll();
    if (!exit) return;
    if (*exit == 0) {
      finished_ = ended_ = true;
      return;
    }
    const bool disk = scenario_.disk_fault.starts_with("full") && *exit == 1 && count("learner_starts") == 1;
    if (*exit != 128 + SIGKILL && !disk) {
      find("learner_failed", fmt::format("the learner ended with {}: {}", *exit, tail_of("learner.txt")));
      ended_ = true;
      return;
    }
    if (disk && patience_ - grew_at_ > kPromptS)
      find("slow_stop", fmt::format("the learner ended {:.1f} s after its last write", patience_ - grew_at_));
    if (scenario_.power_cuts) {
      cut_power(file("log"), file("notes"));
      ++count("power_cuts");
    }
    if (count("learner_starts") >= kMaxLearnerStarts) throw failure("[chaos] the learner was started {} times", kMaxLearnerStarts);
    start_learner();
  }

  // What the log, the acknowledgements and the processes' words show.
  void look_around() {
    if (now() < looked_at_ + kLookEveryS) return;
    looked_at_ = now();
    if (now() > static_cast<double>(footprints_.size())) footprints_.push_back(footprint_of(learner_->pid()));
    if (!released_ || outcome_.restarts.waits()) {
      happened_ = what_happened();
      outcome_.restarts.look(happened_["hellos"], patience_);
      outcome_.returns.look(happened_["hellos"], patience_);
      has_begun_ = has_begun_ || (happened_["acked"] > 0 && (scenario_.disk_fault.empty() || happened_["disk_faults"] > 0));
    }
    watch_growth();
  }

  Counts what_happened() {
    Counts counts = evidence_.look();
    for (const auto& [name, value] : done_) counts[name] += value;
    const LinkCounts link = link_.counts();
    counts["partitions"] = link_.begun();
    counts["bit_flips"] = link.flips;
    counts["resets"] = link.resets;
    counts["held_buffers"] = link.held;
    counts["swallowed_bytes"] = link.swallowed;
    return counts;
  }

  std::uintmax_t log_bytes() const {
    std::uintmax_t bytes = 0;
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(file("log"), code))
      if (entry.path().extension() == ".seg") bytes += fs::exists(entry.path()) ? entry.file_size(code) : 0;
    return bytes;
  }

  // What is stopped or cut off on purpose need not make the log grow, nor a learner that waits for faults.
  void watch_growth() {
    const std::uintmax_t bytes = log_bytes();
    if (bytes != log_bytes_) {
      outcome_.longest_pause_s = std::max(outcome_.longest_pause_s, now() - last_growth_s_);
      log_bytes_ = bytes;
      last_growth_s_ = now();
      grew_at_ = quiet_since_ = patience_;
    }
    if (learner_continue_at_ > 0 || !released_) quiet_since_ = patience_;
    if (patience_ - quiet_since_ < options_.hang_s) return;
    find("hang", fmt::format("nothing new in the log for {} s; the learner says: {}", options_.hang_s, tail_of("learner.txt")));
    ended_ = true;
  }

  void do_what_is_due() {
    if (scenario_.actors_are_gone && gone_ == 0 && actors_.all_alive()) {
      ++gone_;
      actors_.kill_all(now(), kAwayS);
    }
    if (scaled_ < scalings() && now() >= scaled_at_ + kScaledS && happened_["acked"] > acked_at_fault_) {
      actors_.scale(static_cast<std::size_t>(scenario_.sizes[static_cast<std::size_t>(++scaled_)]));
      scaled_at_ = now();
      note_fault();
    }
    const auto fault = schedule_.due(now());
    if (!fault) return;
    const bool stops = *fault == ProcessFault::kStopActor || *fault == ProcessFault::kStopLearner;
    const bool worked = happened_["acked"] > acked_at_fault_ || (!stops && now() > schedule_.next_at_s() + kIdleS);
    if (!worked || !(stops ? stop(*fault) : kill(*fault))) return;
    schedule_.take(now());
    note_fault();
  }

  void note_fault() { acked_at_fault_ = happened_["acked"]; }

  // Both say whether there was somebody to have it.
  bool kill(ProcessFault fault) {
    using enum ActorCrew::Whom;
    if (fault == ProcessFault::kKillActor) return actors_.kill_one(schedule_.size() % 2 == 0 ? kAtWork : kAny, schedule_, now());
    if (learner_killed_ || learner_->poll()) return false;
    learner_->signal(SIGKILL);
    learner_killed_ = true;
    ++count("kills");
    return true;
  }

  // One at a time.
  bool stop(ProcessFault fault) {
    const double until = now() + scenario_.processes.stopped_s;
    if (anybody_stopped()) return false;
    if (fault == ProcessFault::kStopActor) return actors_.stop_one(until);
    if (learner_->poll()) return false;
    learner_->signal(SIGSTOP);
    learner_continue_at_ = until;
    ++count("stops");
    return true;
  }

  bool anybody_stopped() const { return learner_continue_at_ > 0 || actors_.anybody_stopped(); }

  // Training goes on as the faults do, so that there is work whenever one happens; the last update comes when all has happened that must.
  void allow_updates() {
    if (pace_ == Pace::kFree) released_ = true;
    if (released_) return;
    const std::int64_t updates = scenario_.shape.updates();
    const std::int64_t begun = events_ - events_left();
    const bool over = begun == events_ && link_.is_over() && !anybody_stopped() && !outcome_.restarts.waits() &&
                      !outcome_.returns.waits() && lacking(scenario_.must, happened_).empty();
    const std::int64_t allowed = over ? updates : events_ == 0 ? updates - 1 : std::min(updates - 1, 1 + (updates - 1) * begun / events_);
    if (allowed == allowed_) return;
    write_file(file("allowed"), std::to_string(allowed));
    allowed_ = allowed;
    released_ = over;
  }

  std::string tail_of(const std::string& name) const {
    constexpr std::size_t kMaxBytes = std::size_t{64} << 20, kTail = 400;
    if (!fs::exists(file(name))) return "";
    const std::string text = read_file(file(name), kMaxBytes);
    return text.substr(text.size() > kTail ? text.size() - kTail : 0);
  }

  void judge() {
    outcome_.seconds = now();
    outcome_.learner = growth_of(footprints_);
    outcome_.happened = what_happened();
    outcome_.check = check_run(options_.folder, scenario_.shape, finished_ ? RunEnd::kFinished : RunEnd::kCutShort);
    outcome_.findings.insert(outcome_.findings.end(), outcome_.check.findings.begin(), outcome_.check.findings.end());
    const auto judge_comeback = [this](const char* kind, const Comeback& comeback) {
      if (!comeback.is_prompt()) find(kind, fmt::format("it took more than {} s until actors were back", Comeback::kPromptS));
    };
    judge_comeback("slow_restart", outcome_.restarts);
    judge_comeback("slow_return", outcome_.returns);
    const std::string missing = lacking(scenario_.must, outcome_.happened);
    if (!missing.empty()) find("no_fault", fmt::format("what the scenario is about happened too seldom: {}", missing));
  }

  const Scenario scenario_;
  const ChaosOptions options_;
  FaultSchedule schedule_;
  const RunPorts ports_;
  FaultyLink link_;
  Evidence evidence_;
  Counts done_;  // by this loop
  ActorCrew actors_;
  std::int64_t gone_ = 0, scaled_ = 0;
  const std::int64_t events_;
  const Pace pace_;
  const double began_;
  double turn_at_, patience_ = 0;
  std::optional<ChildProcess> learner_;
  std::vector<Footprint> footprints_;
  double learner_continue_at_ = 0, looked_at_ = 0, last_growth_s_ = 0, scaled_at_ = 0;
  double grew_at_ = 0, quiet_since_ = 0;  // of patience_
  bool learner_killed_ = false, has_begun_ = false, released_ = false, finished_ = false, ended_ = false;
  std::uintmax_t log_bytes_ = 0;
  std::int64_t allowed_ = 0, acked_at_fault_ = 0;
  Counts happened_;  // and what came of it, as of the last look
  ChaosOutcome outcome_;
};

}  // namespace

ChaosOutcome run_chaos(const Scenario& scenario, const ChaosOptions& options) {
  ChaosOutcome outcome = ChaosRun(scenario, options).run();
  if (!scenario.same_weights_as_undisturbed || !outcome.skipped.empty()) return outcome;
  Scenario control;
  control.name = "undisturbed";
  control.shape = scenario.shape;
  control.deadline_s = scenario.deadline_s;
  ChaosOptions control_options = options;
  control_options.folder += "-undisturbed";
  control_options.bug.clear();
  const ChaosOutcome undisturbed = ChaosRun(control, control_options).run();
  if (undisturbed.check.final_digest != outcome.check.final_digest)
    outcome.findings.push_back({"weights_diverged", fmt::format("the last version has digest {}; of the undisturbed run it has {}",
                                                                outcome.check.final_digest, undisturbed.check.final_digest)});
  return outcome;
}

}  // namespace nabla::chaos
