#include "tests/chaos/chaos_run.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/files.h"
#include "launch/child_process.h"
#include "tests/chaos/actor_namespace.h"
#include "tests/chaos/fault_schedule.h"
#include "tests/chaos/power_cut.h"

#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>

namespace nabla::chaos {

namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kTurn{2};
constexpr double kAwayS = 1.0;    // how long actors that are gone stay away
constexpr double kPromptS = 5.0;  // from the fault of a disk to the end of the learner
constexpr double kRestartPauseS = 0.05;
constexpr int kMaxLearnerStarts = 200;

struct Actor {
  std::optional<ChildProcess> process;
  int incarnation = 0;
  double start_at = 0;     // when it has no process
  double continue_at = 0;  // when it is stopped; 0: it is not
};

// An empty folder by its real path, as the disk's faults see it.
ChaosOptions with_own_folder(ChaosOptions options) {
  fs::remove_all(options.folder);
  fs::create_directories(options.folder);
  options.folder = fs::canonical(options.folder).string();
  return options;
}

// "place" gets the number of times that the place is reached before it acts, from the seed; "place:..." has it already.
std::string counted(const std::string& failpoint, std::uint64_t seed) {
  if (failpoint.empty() || failpoint.find(':') != std::string::npos) return failpoint;
  const bool often = failpoint == "actor.before_delivery" || failpoint == "actor.mid_record" || failpoint == "learner.after_ack" ||
                     failpoint == "learner.after_receive" || failpoint == "learner.before_ack" || failpoint == "log.before_sync" ||
                     failpoint == "log.mid_append";
  return fmt::format("{}:{}", failpoint, 1 + seed * 37 % (often ? 60 : 2));
}

class ChaosRun {
 public:
  ChaosRun(const Scenario& scenario, const ChaosOptions& options)
      : scenario_(scenario), options_(with_own_folder(options)), schedule_(scenario.processes, options.seed), began_(monotonic_seconds()) {}

  ChaosOutcome run() {
    if (!prepare()) return std::move(outcome_);
    start_learner();
    actors_.resize(static_cast<std::size_t>(scenario_.actors));
    while (!ended_) take_turn();
    actors_.clear();
    learner_.reset();
    judge();
    return std::move(outcome_);
  }

 private:
  double now() const { return monotonic_seconds() - began_; }
  std::string file(const std::string& name) const { return options_.folder + "/" + name; }
  void find(const std::string& kind, const std::string& text) { outcome_.findings.push_back({kind, text}); }

  bool prepare() {
    fs::create_directories(file("acks"));
    control_port_ = free_port();
    do weights_port_ = free_port();
    while (weights_port_ == control_port_);
    if (scenario_.way == Way::kNamespace) {
      namespace_ = ActorNamespace::make(outcome_.skipped);
      if (!namespace_) return false;
      host_ = namespace_->address();
    }
    if (scenario_.way == Way::kProxy) {
      control_proxy_ = std::make_unique<Proxy>(control_port_, options_.seed);
      weights_proxy_ = std::make_unique<Proxy>(weights_port_, options_.seed + 1);
      if (scenario_.link.times == 0) set_link(scenario_.link.faults);
    }
    return true;
  }

  std::string address(std::uint16_t port) const { return fmt::format("tcp://{}:{}", host_, port); }

  std::string faults_for(const std::string& failpoint) const {
    std::string text = options_.bug.empty() ? "" : "bug:" + options_.bug;
    if (!failpoint.empty()) text += (text.empty() ? "" : ",") + failpoint;
    return text;
  }

  void start_learner() {
    const bool first = outcome_.learner_starts++ == 0;
    ChildCommand command;
    command.arguments = {options_.program, "learner",
                         "--run",          options_.folder,
                         "--shape",        text_of(scenario_.shape),
                         "--control",      address(control_port_),
                         "--weights",      address(weights_port_),
                         "--durability",   scenario_.durability == Durability::kFsync ? "fsync" : "pagecache",
                         "--train-ms",     std::to_string(scenario_.train_time.count()),
                         "--heartbeat-ms", std::to_string(scenario_.heartbeat.count())};
    if (weights_proxy_) command.arguments.insert(command.arguments.end(), {"--announce", address(weights_proxy_->port())});
    if (schedule_.size() > 0 || scenario_.link.times > 0 || scenario_.actors_are_gone) command.arguments.push_back("--hold");
    if (const auto text = faults_for(first ? counted(scenario_.learner_failpoint, options_.seed) : ""); !text.empty())
      command.arguments.insert(command.arguments.end(), {"--failpoint", text});
    if (!scenario_.disk_fault.empty() || scenario_.power_cuts) {
      command.environment = {{"LD_PRELOAD", options_.shim}, {"NABLA_DISK_FOLDER", file("log")}};
      if (first) command.environment.emplace_back("NABLA_DISK_FAULT", scenario_.disk_fault);
      if (scenario_.power_cuts) command.environment.emplace_back("NABLA_DISK_NOTES", file("notes"));
    }
    command.output_file = file("learner.txt");
    learner_.emplace(command);
    learner_continue_at_ = 0;
  }

  void start_actor(std::size_t number) {
    Actor& actor = actors_[number];
    ++outcome_.actor_starts;
    const std::string id = scenario_.twins && number < 2 ? "twin" : fmt::format("a{}-{}", number, actor.incarnation);
    ChildCommand command;
    if (namespace_) command.arguments = namespace_->prefix();
    const auto words = {options_.program,
                        std::string("actor"),
                        std::string("--connect"),
                        address(control_proxy_ ? control_proxy_->port() : control_port_),
                        std::string("--id"),
                        id,
                        std::string("--acks"),
                        file(fmt::format("acks/{}-{}", number, actor.incarnation)),
                        std::string("--heartbeat-ms"),
                        std::to_string(scenario_.heartbeat.count())};
    command.arguments.insert(command.arguments.end(), words.begin(), words.end());
    if (scenario_.liar && number == 0) command.arguments.push_back("--lies");
    const bool first = number == 0 && (actor.incarnation == 0 || scenario_.actor_failpoint_stays);
    if (const auto text = faults_for(first ? counted(scenario_.actor_failpoint, options_.seed) : ""); !text.empty())
      command.arguments.insert(command.arguments.end(), {"--failpoint", text});
    command.output_file = file("actors.txt");
    actor.process.emplace(command);
    actor.continue_at = 0;
    ++actor.incarnation;
  }

  void take_turn() {
    look_after_learner();
    if (ended_) return;
    look_after_actors();
    do_what_is_due();
    move_link();
    watch_progress();
    if (now() > scenario_.deadline_s && !ended_) {
      find("hang", fmt::format("not finished after {} s", scenario_.deadline_s));
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
    const bool disk = scenario_.disk_fault.starts_with("full") && *exit == 1 && outcome_.learner_starts == 1;
    if (*exit != 128 + SIGKILL && !disk) {
      find("learner_failed", fmt::format("the learner ended with {}: {}", *exit, tail_of("learner.txt")));
      ended_ = true;
      return;
    }
    if (disk && now() - progress_at_ > kPromptS)
      find("slow_stop", fmt::format("the learner ended {:.1f} s after its last write", now() - progress_at_));
    if (scenario_.power_cuts) {
      cut_power(file("log"), file("notes"));
      ++outcome_.power_cuts;
    }
    if (outcome_.learner_starts >= kMaxLearnerStarts) throw failure("[chaos] the learner was started {} times", kMaxLearnerStarts);
    start_learner();
  }

  void look_after_actors() {
    for (std::size_t number = 0; number < actors_.size(); ++number) {
      Actor& actor = actors_[number];
      if (actor.continue_at > 0 && now() >= actor.continue_at) {
        if (actor.process) actor.process->signal(SIGCONT);
        actor.continue_at = 0;
      }
      if (actor.process && actor.process->poll()) {
        actor.process.reset();
        actor.start_at = std::max(actor.start_at, now() + kRestartPauseS);
      }
      if (!actor.process && now() >= actor.start_at) start_actor(number);
    }
  }

  void do_what_is_due() {
    if (scenario_.actors_are_gone && !were_gone_ && now() > 0.5) {
      were_gone_ = true;
      for (Actor& actor : actors_) kill_actor(actor, kAwayS);
    }
    while (const auto fault = schedule_.due(now())) {
      const std::size_t whom = schedule_.pick(actors_.size());
      switch (*fault) {
        case ProcessFault::kKillActor:
          kill_actor(alive_from(whom), 0);
          break;
        case ProcessFault::kKillLearner:
          learner_->signal(SIGKILL);
          ++outcome_.kills;
          break;
        case ProcessFault::kStopActor:
          if (!actors_[whom].process) break;
          actors_[whom].process->signal(SIGSTOP);
          actors_[whom].continue_at = now() + scenario_.processes.stopped_s;
          ++outcome_.stops;
          break;
        case ProcessFault::kStopLearner:
          learner_->signal(SIGSTOP);
          learner_continue_at_ = now() + scenario_.processes.stopped_s;
          ++outcome_.stops;
          break;
      }
    }
    const bool all_done =
        schedule_.size() == 0 && (!scenario_.actors_are_gone || were_gone_) && outcome_.partitions >= scenario_.link.times && !link_on_;
    if (all_done && !released_ && learner_continue_at_ == 0) {
      write_file(file("release"), "");
      released_ = true;
    }
  }

  // That actor, or the next one that lives.
  Actor& alive_from(std::size_t whom) {
    for (std::size_t i = 0; i < actors_.size(); ++i) {
      Actor& actor = actors_[(whom + i) % actors_.size()];
      if (actor.process && !actor.process->poll()) return actor;
    }
    return actors_[whom];
  }

  void kill_actor(Actor& actor, double away_s) {
    if (!actor.process) return;
    actor.process->signal(SIGKILL);
    ++outcome_.kills;
    actor.start_at = now() + away_s;
  }

  void set_link(const LinkFaults& faults) {
    if (control_proxy_) control_proxy_->set(faults);
    if (weights_proxy_) weights_proxy_->set(faults);
    if (namespace_) namespace_->set_cable(!faults.down);
  }

  void move_link() {
    const LinkPlan& plan = scenario_.link;
    if (plan.times == 0 || now() < link_moves_at_ || (!link_on_ && outcome_.partitions >= plan.times)) return;
    // First some time without a fault.
    if (link_moves_at_ > 0) {
      link_on_ = !link_on_;
      if (link_on_) ++outcome_.partitions;
      set_link(link_on_ ? plan.faults : LinkFaults{});
    }
    link_moves_at_ = now() + (link_on_ ? plan.on_s : plan.off_s);
  }

  std::uintmax_t log_bytes() const {
    std::uintmax_t bytes = 0;
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(file("log"), code))
      if (entry.path().extension() == ".seg") bytes += fs::exists(entry.path()) ? entry.file_size(code) : 0;
    return bytes;
  }

  // Growth of the log. What is stopped or cut off on purpose need not make it grow, nor a learner that waits for the last fault.
  void watch_progress() {
    if (now() < looked_at_ + 0.02) return;
    looked_at_ = now();
    if (now() > static_cast<double>(footprints_.size())) footprints_.push_back(footprint_of(learner_->pid()));
    const std::uintmax_t bytes = log_bytes();
    const bool excused = link_on_ || learner_continue_at_ > 0 || !released_;
    if (bytes != log_bytes_) {
      outcome_.longest_pause_s = std::max(outcome_.longest_pause_s, now() - progress_at_);
      log_bytes_ = bytes;
      progress_at_ = quiet_since_ = now();
    }
    if (excused) quiet_since_ = now();
    if (now() - quiet_since_ < options_.hang_s) return;
    find("hang", fmt::format("nothing new in the log for {} s; the learner says: {}", options_.hang_s, tail_of("learner.txt")));
    ended_ = true;
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
    if (control_proxy_) {
      outcome_.link = control_proxy_->counts();
      const LinkCounts weights = weights_proxy_->counts();
      outcome_.link = {outcome_.link.connections + weights.connections, outcome_.link.bytes + weights.bytes,
                       outcome_.link.flips + weights.flips, outcome_.link.resets + weights.resets};
    }
    outcome_.check = check_run(options_.folder, scenario_.shape, finished_ ? RunEnd::kFinished : RunEnd::kCutShort);
    outcome_.findings.insert(outcome_.findings.end(), outcome_.check.findings.begin(), outcome_.check.findings.end());
  }

  const Scenario scenario_;
  const ChaosOptions options_;
  FaultSchedule schedule_;
  const double began_;
  std::string host_ = "127.0.0.1";
  std::uint16_t control_port_ = 0, weights_port_ = 0;
  std::unique_ptr<ActorNamespace> namespace_;
  std::unique_ptr<Proxy> control_proxy_, weights_proxy_;
  std::optional<ChildProcess> learner_;
  std::vector<Actor> actors_;
  std::vector<Footprint> footprints_;
  double learner_continue_at_ = 0, link_moves_at_ = 0, looked_at_ = 0, progress_at_ = 0, quiet_since_ = 0;
  bool link_on_ = false, were_gone_ = false, released_ = false, finished_ = false, ended_ = false;
  std::uintmax_t log_bytes_ = 0;
  ChaosOutcome outcome_;
};

}  // namespace

ChaosOutcome run_chaos(const Scenario& scenario, const ChaosOptions& options) {
  ChaosOutcome outcome = ChaosRun(scenario, options).run();
  if (!scenario.same_weights_as_undisturbed || !outcome.skipped.empty()) return outcome;
  Scenario control;
  control.name = "undisturbed";
  control.shape = scenario.shape;
  ChaosOptions control_options = options;
  control_options.folder += "-undisturbed";
  control_options.bug.clear();
  const ChaosOutcome undisturbed = ChaosRun(control, control_options).run();
  if (undisturbed.check.final_digest != outcome.check.final_digest)
    outcome.findings.push_back({"weights_diverged", fmt::format("the last version has digest {}; of the undisturbed run it has {}",
                                                                outcome.check.final_digest, undisturbed.check.final_digest)});
  return outcome;
}

nlohmann::ordered_json json_of(const Scenario& scenario, const ChaosOptions& options, const ChaosOutcome& outcome) {
  nlohmann::ordered_json json{{"scenario", scenario.name}, {"figure", scenario.figure}, {"seed", options.seed}};
  if (!options.bug.empty()) json["bug"] = options.bug;
  if (!outcome.skipped.empty()) {
    json["skipped"] = outcome.skipped;
    return json;
  }
  json["passed"] = outcome.findings.empty();
  auto& findings = json["findings"] = nlohmann::ordered_json::array();
  for (const Finding& finding : outcome.findings) findings.push_back({{"kind", finding.kind}, {"text", finding.text}});
  const OfflineLedger& ledger = outcome.check.ledger;
  json["ledger"] = {{"issued", ledger.issued},
                    {"trained", ledger.trained},
                    {"discarded", ledger.discarded},
                    {"outstanding", ledger.outstanding},
                    {"residual", ledger.residual()}};
  json["records"] = {{"logged", outcome.check.logged}, {"acked", outcome.check.acked}, {"acked_duplicate", outcome.check.duplicates}};
  json["faults"] = {{"kills", outcome.kills},           {"stops", outcome.stops},          {"partitions", outcome.partitions},
                    {"power_cuts", outcome.power_cuts}, {"bit_flips", outcome.link.flips}, {"resets", outcome.link.resets}};
  json["starts"] = {{"learner", outcome.learner_starts}, {"actors", outcome.actor_starts}};
  json["seconds"] = outcome.seconds;
  json["longest_pause_s"] = outcome.longest_pause_s;
  return json;
}

}  // namespace nabla::chaos
