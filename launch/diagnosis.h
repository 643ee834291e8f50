#pragma once

#include "common/config/run_config.h"
#include "common/error.h"

#include <string>
#include <vector>

namespace nabla {

enum class Verdict { kOk, kWarning, kFailed };

// One line of `nabla doctor`.
struct Finding {
  Verdict verdict = Verdict::kOk;
  std::string subject, text;
  std::string advice = {};             // what to do; empty where nothing is to be done
  ExitCode code = ExitCode::kFailure;  // of a failure
};

// Judgements of numbers, apart from where they come from.
Finding judge_threads(const RunConfig& config, double cores);
Finding judge_memory(std::uint64_t available_bytes);
Finding judge_open_files(std::uint64_t limit);
Finding judge_disk(const std::string& folder, std::uint64_t free_bytes);

// Build and devices, threads, memory, open files, runs folder, sockets.
std::vector<Finding> diagnose_machine(const RunConfig& config);
// Loads everything that an actor of this run loads.
std::vector<Finding> diagnose_run(const RunConfig& config);

// "ok       memory    3.1 GiB free", failures with their advice in a second line.
std::string finding_text(const Finding& finding);
// 0 unless something failed: 3 if a model or data did, else 1.
ExitCode exit_code_of(const std::vector<Finding>& findings);

}  // namespace nabla
