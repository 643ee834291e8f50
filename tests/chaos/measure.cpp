#include "tests/chaos/measure.h"

#include "common/error.h"
#include "common/json_file.h"
#include "tests/chaos/byte_faults.h"
#include "tests/chaos/chaos_run.h"
#include "tests/chaos/seeded_bugs.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>

namespace nabla::chaos {

namespace {

using Json = nlohmann::ordered_json;

std::string name_of(Effort effort) { return effort == Effort::kSmall ? "small" : effort == Effort::kFull ? "full" : "nightly"; }

// The long ones are long enough at once.
std::int64_t runs_of(const Scenario& scenario, Effort effort) {
  if (effort == Effort::kSmall) return 1;
  const bool is_long = scenario.name.starts_with("kills") || scenario.name == "undisturbed";
  const std::int64_t runs = is_long ? 1 : 10;
  if (effort == Effort::kFull) return runs;
  return scenario.name.starts_with("failpoint:") ? 100 : 5 * runs;
}

void add(Json& json, const char* name, std::int64_t count) { json[name] = json.value(name, std::int64_t{0}) + count; }
void raise(Json& json, const char* name, double value) { json[name] = std::max(json.value(name, 0.0), value); }

class Measurement {
 public:
  explicit Measurement(const MeasureOptions& options) : options_(options) {
    const bool goes_on = std::filesystem::exists(options.out);
    if (goes_on) json_ = read_json(options.out);
    if (goes_on && json_.value("effort", "") != name_of(options.effort))
      throw usage_error("[chaos] '{}' holds a measurement of effort '{}', this is '{}'; choose another --out", options.out,
                        json_.value("effort", ""), name_of(options.effort));
    json_["effort"] = name_of(options.effort);
  }

  bool run() {
    for (const Scenario& scenario : scenarios(options_.effort == Effort::kSmall ? Size::kSmall : Size::kFull)) measure_scenario(scenario);
    for (const SeededBug& bug : seeded_bugs()) measure_bug(bug);
    const std::int64_t many = options_.effort == Effort::kSmall ? 1 : 10;
    measure_bytes("wire_bit_flips", "B5", flip_record_bits, 10'000 * many);
    measure_bytes("torn_4_mib_tail", "B7", tear_long_tail, 1'000 * many);
    measure_bytes("bit_rot_in_sealed_segment", "B8", rot_sealed_segment, 1'000 * many);
    return all_well_;
  }

 private:
  bool is_wanted(const std::string& name) const { return name.starts_with(options_.only); }

  Json& row_of(const char* group, const std::string& name) {
    Json& row = json_[group][name];
    if (row.is_null()) row = Json::object();
    return row;
  }

  ChaosOptions chaos_options(const std::string& name, std::int64_t run) const {
    ChaosOptions chaos;
    chaos.program = options_.program;
    chaos.disk_shim = options_.disk_shim;
    chaos.clock_shim = options_.clock_shim;
    chaos.folder = options_.folder + "/" + name;
    std::ranges::replace(chaos.folder, ':', '-');
    chaos.seed = static_cast<std::uint64_t>(1 + run);
    return chaos;
  }

  void measure_scenario(const Scenario& scenario) {
    if (!is_wanted(scenario.name)) return;
    const std::int64_t wanted = runs_of(scenario, options_.effort);
    Json& row = row_of("scenarios", scenario.name);
    while (row.value("runs", std::int64_t{0}) < wanted) {
      const ChaosOptions chaos = chaos_options(scenario.name, row.value("runs", std::int64_t{0}));
      const ChaosOutcome outcome = run_chaos(scenario, chaos);
      row["figure"] = scenario.figure;
      row["what"] = scenario.what;
      add(row, "runs", 1);
      if (!outcome.skipped.empty()) row["skipped"] = outcome.skipped;
      if (outcome.skipped.empty()) count(row, outcome);
      write_json(options_.out, json_);
      show(json_of(scenario, chaos, outcome));
      if (!outcome.skipped.empty()) return;
      if (outcome.findings.empty()) std::filesystem::remove_all(chaos.folder);
    }
    all_well_ = all_well_ && row.value("findings", Json::array()).empty();
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
                                                                                                 {"acked", outcome.check.acked},
                                                                                                 {"acked_missing", missing},
                                                                                                 {"trained_twice", twice},
                                                                                                 {"duplicates", outcome.check.duplicates}})
      add(row, name, value);
    for (const auto& [name, value] : outcome.happened) add(row["happened"], name.c_str(), value);
    raise(row, "longest_pause_s", outcome.longest_pause_s);
    row["seconds"] = row.value("seconds", 0.0) + outcome.seconds;
    Json& findings = row["findings"];
    if (findings.is_null()) findings = Json::array();
    for (const Finding& finding : outcome.findings)
      if (findings.size() < 20) findings.push_back(finding.kind + ": " + finding.text);
  }

  void measure_bug(const SeededBug& bug) {
    if (!is_wanted("bug:" + bug.name)) return;
    const std::int64_t wanted = options_.effort == Effort::kNightly ? 10 : options_.effort == Effort::kFull ? 3 : 1;
    Json& row = row_of("seeded_bugs", bug.name);
    while (row.value("runs", std::int64_t{0}) < wanted) {
      ChaosOptions chaos = chaos_options("bug-" + bug.name, row.value("runs", std::int64_t{0}));
      chaos.bug = bug.name;
      chaos.hang_s = 4;
      const ChaosOutcome outcome = run_chaos(bug.scenario, chaos);
      const bool caught = std::ranges::any_of(
          outcome.findings, [&](const Finding& finding) { return std::ranges::find(bug.findings, finding.kind) != bug.findings.end(); });
      row["what"] = bug.what;
      row["scenario"] = bug.scenario.name;
      row["expected"] = bug.findings;
      add(row, "runs", 1);
      add(row, "caught", caught ? 1 : 0);
      write_json(options_.out, json_);
      show(json_of(bug.scenario, chaos, outcome));
      std::filesystem::remove_all(chaos.folder);
    }
    all_well_ = all_well_ && row.at("caught") == row.at("runs");
  }

  void measure_bytes(const std::string& name, const std::string& figure,
                     const std::function<ByteFaults(std::int64_t, std::uint64_t)>& fault, std::int64_t tries) {
    if (!is_wanted(name)) return;
    Json& row = row_of("bytes", name);
    if (!row.contains("tries")) {
      const ByteFaults faults = fault(tries, 1);
      row = {{"figure", figure}, {"tries", faults.tries}, {"missed", faults.missed}};
      if (faults.missed > 0) row["first_miss"] = faults.first_miss;
      write_json(options_.out, json_);
      show(row);
    }
    all_well_ = all_well_ && row.at("missed") == 0;
  }

  static void show(const Json& line) {
    std::printf("%s\n", line.dump().c_str());
    std::fflush(stdout);
  }

  const MeasureOptions options_;
  Json json_;
  bool all_well_ = true;
};

}  // namespace

bool measure(const MeasureOptions& options) { return Measurement(options).run(); }

}  // namespace nabla::chaos
