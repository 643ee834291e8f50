#pragma once

#include "learner/checkpoint/checkpoint.h"
#include "learner/checkpoint/log_history.h"

#include <optional>
#include <string>

namespace nabla {

// What a checkpoint must be of.
struct RunIdentity {
  std::string run_id, weights_contract;
};

// data_error unless the checkpoint at `path` is of this run.
void require_same_run(const Checkpoint& checkpoint, const RunIdentity& run, const std::string& path);

// The checkpoint that a run goes on from: the one at `named`, or where that is empty the newest of `folder` that is whole and that the log reaches; those that are
// passed over are set aside with a warning. Nothing: there is none, and the run goes on from version 0. data_error where `named` cannot be used, or where
// the log was trimmed and no checkpoint takes its place.
std::optional<Checkpoint> choose_checkpoint(const std::string& folder, const std::string& named, const RunIdentity& run,
                                            const LogHistory& history);

}  // namespace nabla
