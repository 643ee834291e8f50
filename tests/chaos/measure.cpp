#include "tests/chaos/measure.h"

#include "common/clock.h"
#include "common/digest.h"
#include "common/error.h"
#include "common/files.h"
#include "common/json_file.h"
#include "tests/chaos/byte_faults.h"
#include "tests/chaos/chaos_run.h"
#include "tests/chaos/curve_load.h"
#include "tests/chaos/figures.h"
#include "tests/chaos/seeded_bugs.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>

namespace nabla::chaos {

namespace {

using Json = nlohmann::ordered_json;

// Something that is run `wanted` times; `run` adds one run to its row.
struct Case {
  std::string name, figure, what;
  std::int64_t wanted = 1;
  std::function<void(Json& row, std::int64_t number)> run;
};

std::string name_of(Effort effort) { return effort == Effort::kSmall ? "small" : effort == Effort::kFull ? "full" : "nightly"; }

// The long ones are long enough at once.
std::int64_t runs_of(const Scenario& scenario, Effort effort) {
  if (effort == Effort::kSmall) return 1;
  const bool is_long = scenario.name.starts_with("kills") || scenario.name == "undisturbed";
  const std::int64_t runs = is_long ? 1 : 10;
  if (effort == Effort::kFull) return runs;
  return scenario.name.starts_with("failpoint:") ? 100 : 5 * runs;
}

void add(Json& json, const std::string& name, std::int64_t count) {
  json[name] = (json.contains(name) ? json.at(name).get<std::int64_t>() : 0) + count;
}
void raise(Json& json, const char* name, double value) { json[name] = std::max(json.value(name, 0.0), value); }

std::string id_of_program(const std::string& path) {
  constexpr std::size_t kMaxBytes = std::size_t{1} << 30, kDigits = 12;
  return Digest().update(read_file(path, kMaxBytes)).hex().substr(0, kDigits);
}

void show(const Json& line) {
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

class Measurement {
 public:
  explicit Measurement(const MeasureOptions& options)
      : options_(options), program_(id_of_program(options.program)), began_(monotonic_seconds()) {
    if (std::filesystem::exists(options.out)) json_ = read_json(options.out);
    const std::string effort = json_.value("effort", name_of(options.effort));
    if (effort != name_of(options.effort))
      throw usage_error("[chaos] '{}' holds a measurement of effort '{}', this is '{}'; choose another --out", options.out, effort,
                        name_of(options.effort));
    for (const Scenario& scenario : scenarios(options.effort == Effort::kSmall ? Size::kSmall : Size::kFull)) add_scenario(scenario);
    for (const SeededBug& bug : seeded_bugs()) add_bug(bug);
    const std::int64_t many = options.effort == Effort::kSmall ? 1 : 10;
    add_bytes("wire_bit_flips", "B5", "bits of a record flip: every one is noticed", flip_record_bits, 10'000 * many);
    add_bytes("torn_4_mib_tail", "B7", "the last record of a log is cut at any byte", tear_long_tail, 1'000 * many);
    add_bytes("bit_rot_in_sealed_segment", "B8", "a bit of a sealed segment flips", rot_sealed_segment, 1'000 * many);
    add_curve_load(many);
    std::ranges::stable_sort(cases_, [](const Case& a, const Case& b) { return a.figure.starts_with("A") && !b.figure.starts_with("A"); });
  }

  bool run() {
    write();
    std::int64_t round = 0;
    for (bool more = true; more && !is_over(); ++round) {
      more = false;
      for (const Case& one : cases_) {
        if (!one.name.starts_with(options_.only) || round >= one.wanted) continue;
        more = true;
        if (runs_done(one) <= round && !is_over()) run_once(one);
      }
    }
    std::printf("%s\n", json_.at("done").get<std::string>().c_str());
    return std::ranges::all_of(cases_, [this](const Case& one) {
      const Json& row = json_.at("cases").at(one.name);
      return !one.name.starts_with(options_.only) || row.value("passed", std::int64_t{0}) == row.at("runs");
    });
  }

 private:
  bool is_over() const { return options_.budget_s > 0 && monotonic_seconds() - began_ > options_.budget_s; }

  std::int64_t runs_done(const Case& one) const {
    const Json& row = json_.at("cases").at(one.name);
    return row.value("program", "") == program_ ? row.at("runs").get<std::int64_t>() : 0;
  }

  void run_once(const Case& one) {
    Json& row = json_["cases"][one.name];
    if (row.value("program", "") != program_) row = {{"figure", one.figure}, {"what", one.what}, {"program", program_}, {"runs", 0}};
    const auto number = row.at("runs").get<std::int64_t>();
    one.run(row, number);
    add(row, "runs", 1);
    note_when(row);
    write();
  }

  // Cases that were never run stand there too, with no runs.
  void write() {
    json_["effort"] = name_of(options_.effort);
    json_["command"] = fmt::format("tests/chaos/run.sh --{}", name_of(options_.effort));
    std::map<std::string, std::int64_t> wanted;
    std::int64_t done = 0, all = 0;
    for (const Case& one : cases_) {
      Json& row = json_["cases"][one.name];
      if (row.is_null()) row = {{"figure", one.figure}, {"what", one.what}, {"runs", 0}};
      wanted[one.name] = one.wanted;
      done += std::min(one.wanted, row.at("runs").get<std::int64_t>());
      all += one.wanted;
    }
    json_["done"] = fmt::format("{} of {} runs are done", done, all);
    json_["figures"] = summarize_figures(json_, wanted);
    write_json(options_.out, json_);
  }

  ChaosOptions chaos_options(const std::string& name, std::int64_t number) const {
    ChaosOptions chaos;
    chaos.program = options_.program;
    chaos.disk_shim = options_.disk_shim;
    chaos.clock_shim = options_.clock_shim;
    chaos.folder = options_.folder + "/" + name;
    std::ranges::replace(chaos.folder, ':', '-');
    chaos.seed = static_cast<std::uint64_t>(1 + number);
    return chaos;
  }

  void add_scenario(const Scenario& scenario) {
    const auto run = [this, scenario](Json& row, std::int64_t number) {
      const ChaosOptions chaos = chaos_options(scenario.name, number);
      const ChaosOutcome outcome = run_chaos(scenario, chaos);
      if (!outcome.skipped.empty()) row["skipped"] = outcome.skipped;
      if (outcome.skipped.empty()) count(row, outcome);
      show(json_of(scenario, chaos, outcome));
      if (outcome.findings.empty()) std::filesystem::remove_all(chaos.folder);
    };
    cases_.push_back({scenario.name, scenario.figure, scenario.what, runs_of(scenario, options_.effort), run});
  }

  static void count(Json& row, const ChaosOutcome& outcome) {
    add(row, "passed", outcome.findings.empty() ? 1 : 0);
    const auto missing = std::ranges::count_if(outcome.findings, [](const Finding& finding) { return finding.kind == "acked_missing"; });
    const auto twice = std::ranges::count_if(outcome.findings, [](const Finding& finding) { return finding.kind == "trained_twice"; });
    const OfflineLedger& ledger = outcome.check.ledger;
    for (const auto& [name, value] : std::initializer_list<std::pair<const char*, std::int64_t>>{{"issued", ledger.issued},
                                                                                                 {"trained", ledger.trained},
                                                                                                 {"discarded", ledger.discarded},
                                                                                                 {"outstanding", ledger.outstanding},
                                                                                                 {"residual", ledger.residual()},
                                                                                                 {"acked_missing", missing},
                                                                                                 {"trained_twice", twice}})
      add(row, name, value);
    for (const auto& [name, value] : outcome.happened) add(row["happened"], name, value);
    raise(row, "longest_pause_s", outcome.longest_pause_s);
    count_comeback(row, "restarts", outcome.restarts);
    count_comeback(row, "returns", outcome.returns);
    const bool hangs = std::ranges::any_of(outcome.findings, [](const Finding& finding) { return finding.kind == "hang"; });
    add(row, "hangs", hangs ? 1 : 0);
    row["seconds"] = row.value("seconds", 0.0) + outcome.seconds;
    Json& findings = row["findings"];
    if (findings.is_null()) findings = Json::array();
    for (const Finding& finding : outcome.findings)
      if (findings.size() < 20) findings.push_back(fmt::format("{}: {}", finding.kind, finding.text));
  }

  static void count_comeback(Json& row, const char* name, const Comeback& comeback) {
    if (comeback.times() == 0) return;
    add(row[name], "times", comeback.times());
    raise(row[name], "longest_s", comeback.longest_s());
  }

  void add_bug(const SeededBug& bug) {
    const auto run = [this, bug](Json& row, std::int64_t number) {
      ChaosOptions chaos = chaos_options("bug-" + bug.name, number);
      chaos.bug = bug.name;
      chaos.hang_s = kBugHangS;
      const ChaosOutcome outcome = run_chaos(bug.scenario, chaos);
      row["scenario"] = bug.scenario.name;
      row["expected"] = bug.findings;
      add(row, "passed", finds(bug, outcome.findings) ? 1 : 0);
      show(json_of(bug.scenario, chaos, outcome));
      std::filesystem::remove_all(chaos.folder);
    };
    const std::int64_t wanted = options_.effort == Effort::kNightly ? 10 : options_.effort == Effort::kFull ? 3 : 1;
    cases_.push_back({fmt::format("bug:{}", bug.name), "G", bug.what, wanted, run});
  }

  void add_bytes(const std::string& name, const std::string& figure, const std::string& what,
                 const std::function<ByteFaults(std::int64_t, std::uint64_t)>& fault, std::int64_t tries) {
    const auto run = [fault, tries](Json& row, std::int64_t) {
      const ByteFaults faults = fault(tries, 1);
      row["tries"] = faults.tries;
      row["missed"] = faults.missed;
      add(row, "passed", faults.missed == 0 ? 1 : 0);
      if (faults.missed > 0) row["first_miss"] = faults.first_miss;
      show(row);
    };
    cases_.push_back({name, figure, what, 1, run});
  }

  // The rates of all runs stand there; each passes that reaches the figure's.
  void add_curve_load(std::int64_t wanted) {
    const auto run = [](Json& row, std::int64_t) {
      constexpr std::int64_t kTickets = 64;
      constexpr double kMbPerS = 200;
      const CurveLoad load = load_with_curve(kTickets);
      row["least_mb_per_s"] = kMbPerS;
      row["record_bytes"] = load.record_bytes;
      row["mb_per_s"].push_back(std::round(load.mb_per_s));
      add(row, "refused", load.refused);
      add(row, "passed", load.mb_per_s >= kMbPerS && load.refused == 0 ? 1 : 0);
      show(row);
    };
    cases_.push_back({"curve_load", "D2", "one actor, one learner, CURVE on loopback: validated, logged, acknowledged", wanted, run});
  }

  const MeasureOptions options_;
  const std::string program_;
  const double began_;
  std::vector<Case> cases_;
  Json json_ = Json::object();
};

}  // namespace

bool measure(const MeasureOptions& options) { return Measurement(options).run(); }

}  // namespace nabla::chaos
