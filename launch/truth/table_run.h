#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace nabla::truth {

// What `nabla truth` is asked to run.
struct TableRun {
  std::vector<std::string> tiers = {};       // none, and no case: all
  std::vector<std::string> case_files = {};  // YAML
  std::vector<std::uint64_t> seeds = {};     // none: 1, 2, 3; of a case its own
  std::string out = {};                      // ResultFile; empty: none
  bool quick = false;
  std::string build = {};  // names this program: results of another one in `out` are not kept
};

// Runs all trials, each with a line on standard error when it has ended. {"cases": [...]} in the trials' order. usage_error on a bad tier or case.
nlohmann::ordered_json run_table(const TableRun& run);

}  // namespace nabla::truth
