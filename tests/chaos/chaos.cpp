// The chaos program: fake learners and actors made of the product's parts, the faults that befall them, and the judge of what they leave
// (docs/reliability.md). One JSON object a run on standard output; exit code 1 where something was found.
#include "common/error.h"
#include "common/failpoint.h"
#include "common/json_file.h"
#include "tests/chaos/arguments.h"
#include "tests/chaos/chaos_run.h"
#include "tests/chaos/fake_actor.h"
#include "tests/chaos/fake_learner.h"
#include "tests/chaos/figures.h"
#include "tests/chaos/footprint.h"
#include "tests/chaos/measure.h"
#include "tests/chaos/seeded_bugs.h"
#include "tests/common/temporary_folder.h"

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <stop_token>
#include <string>
#include <thread>

namespace nabla::chaos {

namespace {

constexpr const char* kUsage =
    "Usage: chaos list | bugs\n"
    "       chaos run SCENARIO [--full] [--seed N] [--bug NAME] [--folder DIR]\n"
    "       chaos check RUN --shape JSON [--cut-short]\n"
    "       chaos measure --out FILE [--small | --full | --nightly] [--only PREFIX] [--budget SECONDS] [--folder DIR]\n"
    "       chaos table FILE\n"
    "       chaos soak --seconds N [--seed N] [--out FILE] [--folder DIR]\n";

std::string own_path() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

int act_as_learner(const Arguments& arguments) {
  arm_failpoints(arguments.text("--failpoint", ""), FailpointHost::kChaos);
  FakeLearnerOptions options;
  options.run_dir = arguments.text("--run");
  options.shape = shape_from(arguments.text("--shape"));
  options.control = arguments.text("--control");
  options.weights = arguments.text("--weights");
  options.announced_weights = arguments.text("--announce", "");
  options.durability = durability_from_name(arguments.text("--durability", "pagecache"));
  options.heartbeat = std::chrono::milliseconds(arguments.number("--heartbeat-ms", 100));
  options.train_time = std::chrono::milliseconds(arguments.number("--train-ms", 0));
  options.hold = arguments.has("--hold");
  run_fake_learner(options);
  return 0;
}

// SIGTERM asks to leave. To be made before any other thread, so that no other one gets the signal.
class LeaveSignal {
 public:
  LeaveSignal() {
    sigemptyset(&terminate_);
    sigaddset(&terminate_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &terminate_, nullptr);
    thread_ = std::jthread([this](const std::stop_token& over) {
      const timespec look_again{0, 50'000'000};
      while (!over.stop_requested() && sigtimedwait(&terminate_, nullptr, &look_again) != SIGTERM) continue;
      if (!over.stop_requested()) leave_.request_stop();
    });
  }
  std::stop_token token() const { return leave_.get_token(); }

 private:
  sigset_t terminate_;
  std::stop_source leave_;
  std::jthread thread_;
};

int act_as_actor(const Arguments& arguments) {
  const LeaveSignal leave;
  arm_failpoints(arguments.text("--failpoint", ""), FailpointHost::kChaos);
  FakeActorOptions options;
  options.connect = arguments.text("--connect");
  options.id = arguments.text("--id");
  options.acks = arguments.text("--acks");
  options.heartbeat = std::chrono::milliseconds(arguments.number("--heartbeat-ms", 100));
  options.lies = arguments.has("--lies");
  options.protocol_version = static_cast<std::uint32_t>(arguments.number("--protocol", kProtocolVersion));
  run_fake_actor(options, leave.token());
  return 0;
}

ChaosOptions chaos_options(const Arguments& arguments, const TemporaryFolder& scratch) {
  ChaosOptions options;
  options.program = own_path();
  options.disk_shim = NABLA_DISK_SHIM;
  options.clock_shim = NABLA_CLOCK_SHIM;
  options.folder = arguments.text("--folder", scratch.file("run"));
  options.seed = static_cast<std::uint64_t>(arguments.number("--seed", 1));
  options.bug = arguments.text("--bug", "");
  return options;
}

int run_one(const std::string& name, const Arguments& arguments) {
  const TemporaryFolder scratch;
  const ChaosOptions options = chaos_options(arguments, scratch);
  const Scenario scenario = scenario_named(name, arguments.has("--full") ? Size::kFull : Size::kSmall);
  const ChaosOutcome outcome = run_chaos(scenario, options);
  std::printf("%s\n", json_of(scenario, options, outcome).dump(2).c_str());
  return outcome.findings.empty() ? 0 : 1;
}

// As one more case of the results file that measure writes.
void keep_soak(const std::string& path, const nlohmann::ordered_json& outcome) {
  nlohmann::ordered_json results = std::filesystem::exists(path) ? read_json(path) : nlohmann::ordered_json::object();
  auto& row = results["cases"]["soak"];
  row = {{"figure", outcome.at("figure")}, {"what", soak(1).what}, {"runs", 1}, {"passed", outcome.at("passed") ? 1 : 0}};
  for (const char* name : {"seconds", "learner_mib", "learner_descriptors", "growth", "ledger", "happened", "findings"})
    if (outcome.contains(name)) row[name] = outcome.at(name);
  note_when(row);
  results["figures"]["D7"] = summarize_figures(results, {}).at("D7");
  write_json(path, results);
}

// Memory and descriptors of a learner over a long time.
int soak_for(const Arguments& arguments) {
  const TemporaryFolder scratch;
  const Scenario scenario = soak(arguments.number("--seconds", 3600));
  ChaosOptions options = chaos_options(arguments, scratch);
  options.hang_s = 60;
  const ChaosOutcome outcome = run_chaos(scenario, options);
  auto json = json_of(scenario, options, outcome);
  const auto& [early, late] = outcome.learner;
  const std::string growth = find_growth(outcome.learner);
  const bool passed = outcome.findings.empty() && growth.empty() && outcome.check.ledger.residual() == 0;
  json["learner_mib"] = {{"early", static_cast<double>(early.resident_bytes) / 0x1p20},
                         {"late", static_cast<double>(late.resident_bytes) / 0x1p20}};
  json["learner_descriptors"] = {{"early", early.descriptors}, {"late", late.descriptors}};
  if (!growth.empty()) json["growth"] = growth;
  json["passed"] = passed;
  std::printf("%s\n", json.dump(2).c_str());
  if (arguments.has("--out")) keep_soak(arguments.text("--out"), json);
  std::printf("%s\n", passed ? "passed" : "failed");
  return passed ? 0 : 1;
}

int check(const std::string& run, const Arguments& arguments) {
  const CheckResult result =
      check_run(run, shape_from(arguments.text("--shape")), arguments.has("--cut-short") ? RunEnd::kCutShort : RunEnd::kFinished);
  for (const Finding& finding : result.findings) std::printf("%s: %s\n", finding.kind.c_str(), finding.text.c_str());
  const OfflineLedger& ledger = result.ledger;
  std::printf("issued %ld = trained %ld + discarded %ld + outstanding %ld; %ld records, %ld acknowledged, %zu findings\n", ledger.issued,
              ledger.trained, ledger.discarded, ledger.outstanding, result.logged, result.acked, result.findings.size());
  return result.findings.empty() ? 0 : 1;
}

int measure_all(const Arguments& arguments) {
  const TemporaryFolder scratch;
  MeasureOptions options;
  options.program = own_path();
  options.disk_shim = NABLA_DISK_SHIM;
  options.clock_shim = NABLA_CLOCK_SHIM;
  options.folder = arguments.text("--folder", scratch.path());
  options.out = arguments.text("--out");
  options.effort = arguments.has("--nightly") ? Effort::kNightly : arguments.has("--small") ? Effort::kSmall : Effort::kFull;
  options.only = arguments.text("--only", "");
  options.budget_s = static_cast<double>(arguments.number("--budget", 0));
  return measure(options) ? 0 : 1;
}

int show_table(const std::string& path) {
  std::printf("%s", table_of_figures(read_json(path)).c_str());
  return 0;
}

int list_scenarios() {
  for (const Scenario& scenario : scenarios(Size::kSmall))
    std::printf("%-44s %-10s %s\n", scenario.name.c_str(), scenario.figure.c_str(), scenario.what.c_str());
  return 0;
}

int list_bugs() {
  for (const SeededBug& bug : seeded_bugs()) std::printf("%-30s %-44s %s\n", bug.name.c_str(), bug.scenario.name.c_str(), bug.what.c_str());
  return 0;
}

int run(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "", what = argc > 2 ? argv[2] : "";
  const Arguments arguments(argc, argv, 2);
  if (command == "learner") return act_as_learner(arguments);
  if (command == "actor") return act_as_actor(arguments);
  if (command == "list") return list_scenarios();
  if (command == "bugs") return list_bugs();
  if (command == "run" && !what.empty()) return run_one(what, arguments);
  if (command == "check" && !what.empty()) return check(what, arguments);
  if (command == "table" && !what.empty()) return show_table(what);
  if (command == "soak") return soak_for(arguments);
  if (command == "measure") return measure_all(arguments);
  throw usage_error("{}", kUsage);
}

}  // namespace

}  // namespace nabla::chaos

int main(int argc, char** argv) {
  try {
    return nabla::chaos::run(argc, argv);
  } catch (const nabla::Error& error) {
    std::fprintf(stderr, "chaos: %s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "chaos: %s\n", error.what());
    return 1;
  }
}
