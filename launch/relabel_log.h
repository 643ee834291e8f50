#pragma once

#include "common/config/run_config.h"

#include <cstdint>
#include <stop_token>
#include <string>

namespace nabla {

struct RelabelOptions {
  RunConfig config;     // says which tensors, by which base model and reward
  std::string log;      // folder of one log
  std::string out;      // folder that does not exist yet
  std::string weights;  // LoRA file, RUN or RUN@VERSION; empty: the base model
};

struct RelabelReport {
  std::int64_t trajectories = 0;
  std::string weights_digest;
};

// The second stage of an actor, run over a saved log: writes OUT/config.yaml and OUT/queue/rank-0, whose samples have the states of the log's and all other
// tensors by the named weights. It grows as OUT.partial and takes its name when it is whole; whatever ends it before, nothing bears the name. Batches of
// fleet.ticket_size slots. usage_error for a configuration whose records cannot be made from saved states, data_error for a log of another base model.
RelabelReport relabel_log(const RelabelOptions& options, const std::stop_token& stop);

}  // namespace nabla
