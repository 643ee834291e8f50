#pragma once

#include "common/diffusion/tensors.h"
#include "learner/checkpoint/checkpoint_folder.h"
#include "learner/learner.h"
#include "protocol/snapshot.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nabla {

// An evaluation whose pictures were not all here.
struct PendingEvaluation {
  std::int64_t update = 0;
  double drift = 0;
};

// What an actor had told about its work since it started; it goes on counting over a restart of the learner.
struct ToldWork {
  std::string host;
  std::int64_t pid = 0;
  std::map<std::string, double> stage_seconds;
  std::map<std::string, std::int64_t> counters;
};

// Everything that a run needs to go on with update `next_update` as if it had never stopped, besides its log. Random numbers need no state.
struct Checkpoint {
  std::string run_id, weights_contract, base_digest, weights_digest, config_text;
  std::int64_t next_update = 0;
  TensorMap training;               // UpdateStep::state(), on the CPU
  std::vector<Snapshot> snapshots;  // that actors could get
  std::vector<PendingEvaluation> pending_evaluations;
  // Totals, evaluation history (pictures of the first and the last one alone), discards of the updates before next_update.
  RunSummary so_far;
  double lag_sum = 0;
  std::map<std::string, ToldWork> actors;  // by id
};

// Files of the folder: state.json, config.yaml, training.safetensors, evaluations.safetensors, snapshot-<version>.safetensors. The checkpoint must outlive them.
std::map<std::string, FileMaker> files_of(const Checkpoint& checkpoint);

// Verified as a whole, in memory on the CPU. data_error naming the file and what to do.
Checkpoint load_checkpoint(const std::string& path);

}  // namespace nabla
