#include "launch/truth/table_run.h"

#include "common/error.h"
#include "launch/truth/case_file.h"
#include "launch/truth/result_file.h"
#include "launch/truth/tiers.h"

#include <cstdio>

namespace nabla::truth {

namespace {

// Trials and results, those of earlier calls among them.
class Table {
 public:
  Table(const TableRun& run) : results_(run.out), build_(run.build) {}

  void run(const Trial& trial) {
    const std::string key = fingerprint(trial) + " " + build_;
    if (const auto* earlier = results_.find(key)) return keep(*earlier);
    const Outcome outcome = run_trial(trial);
    results_.add(key, outcome);
    show(outcome);
  }

  // A case of someone's own and perhaps its control.
  void run_own(const TruthCase& problem) {
    const std::string key = fingerprint({"own", Expectation::kHold, problem, {}}) + " " + build_;
    if (const auto* earlier = results_.find(key)) {
      keep(*earlier);
      if (const auto* control = results_.find(key + " control")) keep(*control);
      return results_.set_samples(problem.name, problem.seed);
    }
    const std::vector<Outcome> outcomes = run_own_case(problem);
    // The case last: once it is there, its control is too.
    for (std::size_t i = outcomes.size(); i-- > 0;) results_.add(i == 0 ? key : key + " control", outcomes[i]);
    for (const auto& outcome : outcomes) show(outcome);
    results_.set_samples(problem.name, problem.seed);
  }

  nlohmann::ordered_json json() const { return {{"cases", cases_}}; }

 private:
  void show(const Outcome& outcome) {
    fmt::print(stderr, "{}\n", to_line(outcome));
    cases_.push_back(to_json(outcome));
  }
  void keep(const nlohmann::ordered_json& earlier) {
    fmt::print(stderr, "{} seed {}: kept from an earlier call\n", earlier.at("case").get<std::string>(), earlier.at("seed").dump());
    cases_.push_back(earlier);
  }

  ResultFile results_;
  std::string build_;
  nlohmann::ordered_json cases_ = nlohmann::ordered_json::array();
};

std::vector<Trial> wanted_trials(const TableRun& run) {
  const std::vector<std::uint64_t> seeds = run.seeds.empty() ? table_seeds() : run.seeds;
  if (run.quick) return quick_trials(seeds.front());
  if (!run.tiers.empty()) return trials_of(run.tiers, seeds);
  return run.case_files.empty() ? trials_of(tier_names(), seeds) : std::vector<Trial>{};
}

// Its final states are stored under its name and seed.
void refuse_same_name(const std::vector<TruthCase>& own, const TruthCase& problem, const std::string& file) {
  for (const auto& other : own) {
    if (other.name != problem.name || other.seed != problem.seed) continue;
    throw usage_error("[truth] {}: a case '{}' with seed {} is there already; give each case a 'name' of its own", file, problem.name, problem.seed);
  }
}

}  // namespace

nlohmann::ordered_json run_table(const TableRun& run) {
  // All input is read before anything is run.
  const std::vector<Trial> trials = wanted_trials(run);
  std::vector<TruthCase> own;
  for (const auto& file : run.case_files) {
    TruthCase problem = read_case_file(file);
    for (const auto seed : run.seeds.empty() ? std::vector<std::uint64_t>{problem.seed} : run.seeds) {
      problem.seed = seed;
      refuse_same_name(own, problem, file);
      own.push_back(problem);
    }
  }
  Table table(run);
  for (const auto& trial : trials) table.run(trial);
  for (const auto& problem : own) table.run_own(problem);
  return table.json();
}

}  // namespace nabla::truth
