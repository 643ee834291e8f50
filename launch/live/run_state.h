#pragma once

#include <nlohmann/json.hpp>

#include <string>

namespace nabla {

enum class RunLife {
  kLive,      // its learner answers
  kStarting,  // its processes live, but it has not begun, or it is ending
  kEnded,     // finished, stopped or failed, and it said so
  kDead,      // it ended without a word: killed, or its machine is gone
};

// How a run folder's run stands.
struct RunState {
  RunLife life = RunLife::kDead;
  nlohmann::ordered_json status, fleet;  // live: of the learner; of the supervisor, null where actors were started by hand
  nlohmann::ordered_json summary;        // ended: summary.json
  std::string text;                      // for people: what is known where there is neither
};

RunState look_at_run(const std::string& run_dir);

}  // namespace nabla
