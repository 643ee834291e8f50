#include "learner/checkpoint/checkpoint_choice.h"

#include "common/error.h"
#include "common/log.h"

#include <ranges>

namespace nabla {

namespace {

// A crash of the machine may take more from the log than from a checkpoint; the log is what counts.
void require_reached(const Checkpoint& checkpoint, const LogHistory& history, const std::string& path) {
  const std::int64_t update = checkpoint.next_update;
  if (update > history.trained_updates()) {
    throw data_error("[checkpoint] '{}' is of update {}, but the log knows of {} trained updates; go on from an older one", path, update,
                     history.trained_updates());
  }
  const auto published = history.published.find(update);
  if (published == history.published.end() || published->second == checkpoint.weights_digest) return;
  throw data_error("[checkpoint] '{}' holds weights of digest {}, but the log published version {} with {}; it belongs to another log",
                   path, checkpoint.weights_digest, update, published->second);
}

Checkpoint load_reached(const std::string& path, const RunIdentity& run, const LogHistory& history) {
  Checkpoint checkpoint = load_checkpoint(path);
  require_same_run(checkpoint, run, path);
  require_reached(checkpoint, history, path);
  return checkpoint;
}

}  // namespace

void require_same_run(const Checkpoint& checkpoint, const RunIdentity& run, const std::string& path) {
  if (checkpoint.run_id == run.run_id && checkpoint.weights_contract == run.weights_contract) return;
  throw data_error(
      "[checkpoint] '{}' is of run {} with weights contract {}; this is run {} with {}. A run goes on with the model, objective, "
      "optimiser, batch "
      "and seed that it began with",
      path, checkpoint.run_id, checkpoint.weights_contract, run.run_id, run.weights_contract);
}

std::optional<Checkpoint> choose_checkpoint(const std::string& folder, const std::string& named, const RunIdentity& run,
                                            const LogHistory& history) {
  if (!named.empty()) return load_reached(named, run, history);
  for (const auto& place : find_checkpoints(folder) | std::views::reverse) {
    try {
      return load_reached(place.path, run, history);
    } catch (const Error& error) {
      if (error.code() != ExitCode::kData) throw;
      log_warning("{}; it is set aside, the one before it is tried", error.what());
      set_checkpoint_aside(place);
    }
  }
  if (history.is_whole()) return std::nullopt;
  throw data_error("[checkpoint] the log was trimmed and begins with update {}, and '{}' holds no checkpoint to go on from",
                   history.trained.begin()->first, folder);
}

}  // namespace nabla
