#include "learner/checkpoint/checkpoint_writer.h"

#include "common/log.h"

#include <chrono>
#include <memory>
#include <utility>

namespace nabla {

namespace {

// The update before which the weights were judged best, among those that there is a checkpoint of.
std::int64_t best_of(const std::string& folder, const std::vector<EvaluationSummary>& evaluations) {
  std::int64_t best = -1;
  double best_reward = 0;
  for (const auto& place : find_checkpoints(folder)) {
    for (const auto& evaluation : evaluations) {
      if (evaluation.update != place.next_update || (best >= 0 && evaluation.reward_mean <= best_reward)) continue;
      best = evaluation.update;
      best_reward = evaluation.reward_mean;
    }
  }
  return best;
}

}  // namespace

CheckpointWriter::CheckpointWriter(std::string folder, const CheckpointConfig& config) : folder_(std::move(folder)), config_(config) {}

CheckpointWriter::~CheckpointWriter() {
  try {
    wait();
  } catch (const std::exception& error) {
    log_warning("{}", error.what());
  }
}

bool CheckpointWriter::is_due(std::int64_t next_update) const { return config_.every > 0 && next_update % config_.every == 0; }

void CheckpointWriter::write(Checkpoint checkpoint) {
  wait();
  writing_ = std::async(std::launch::async, [this, held = std::make_unique<const Checkpoint>(std::move(checkpoint))] { write_now(*held); });
}

void CheckpointWriter::write_now(const Checkpoint& checkpoint) {
  write_checkpoint_folder(folder_, checkpoint.next_update, files_of(checkpoint));
  last_ = checkpoint.next_update;
  const std::int64_t best = config_.keep_best ? best_of(folder_, checkpoint.so_far.evaluation) : -1;
  remove_old_checkpoints(folder_, {config_.keep, config_.keep_every}, best);
}

void CheckpointWriter::check() {
  if (writing_.valid() && writing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) writing_.get();
}

void CheckpointWriter::wait() {
  if (writing_.valid()) writing_.get();
}

}  // namespace nabla
