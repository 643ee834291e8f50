#pragma once

#include "actors/workbench.h"
#include "common/config/run_config.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nabla {

// A run whose weights are judged. Runs of one label form one series of the plot.
struct JudgedRun {
  std::string label, path;
  RunConfig config;                          // the run's own, with the overrides of the command line
  std::optional<std::int64_t> version = {};  // none: the newest of a run that goes on, the last one of a run that has ended
};

// True for the folder of a run, also with "@VERSION" behind it.
bool names_run(const std::string& word);

// RUN or RUN@VERSION -> the run with its configuration. data_error where there is no run folder, or no version to be had.
JudgedRun open_judged_run(const std::string& label, const std::string& word, const std::vector<std::string>& overrides);

// Puts the run's weights into the bench and returns their version (-1: the last one of a run that does not say how many updates it made). A run that goes
// on gives a snapshot as it does to an actor, but no ticket, so its training waits for nothing. A version that is neither held nor exported is
// trained again from the run's log, which proves digest by digest that it is the same. Errors name the run, the version and the way out.
std::int64_t install_judged_weights(Workbench& bench, const JudgedRun& run);

// Puts a LoRA file's weights into the policy; an exported file has alpha / rank folded into B.
void install_lora_file(Policy& policy, const std::string& file);

}  // namespace nabla
