#include "learner/checkpoint/checkpoint_writer.h"

#include "common/error.h"
#include "common/log.h"

#include <chrono>
#include <filesystem>
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

std::uint64_t bytes_in(const std::string& folder) {
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) bytes += entry.file_size();
  return bytes;
}

}  // namespace

CheckpointWriter::CheckpointWriter(std::string folder, const CheckpointConfig& config)
    : folder_(std::move(folder)), config_(config), reserve_(folder_ + ".reserve") {}

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
  writing_ = std::async(std::launch::async, [this, held = std::make_unique<const Checkpoint>(std::move(checkpoint))] {
    try {
      write_now(*held);
    } catch (...) {
      has_failed_ = true;
      throw;
    }
  });
}

void CheckpointWriter::write_now(const Checkpoint& checkpoint) {
  write_checkpoint_folder(folder_, checkpoint.next_update, files_of(checkpoint));
  last_ = checkpoint.next_update;
  const std::int64_t best = config_.keep_best ? best_of(folder_, checkpoint.so_far.evaluation) : -1;
  remove_old_checkpoints(folder_, {config_.keep, config_.keep_every}, best);
  // The next one has more evaluations in it.
  const std::uint64_t bytes = bytes_in(folder_ + "/" + checkpoint_name(checkpoint.next_update));
  if (reserve_.bytes() > 0) keep_room(bytes + bytes / 8);
}

void CheckpointWriter::keep_room(std::uint64_t bytes) {
  if (!config_.reserve) return;
  try {
    reserve_.hold(bytes);
  } catch (const Error& error) {
    log_warning("{}; a run that fills this disk may end without a last checkpoint", error.what());
  }
}

void CheckpointWriter::free_room() {
  try {
    wait();
  } catch (const std::exception& error) {
    log_warning("{}", error.what());
  }
  reserve_.release();
}

void CheckpointWriter::check() {
  if (writing_.valid() && writing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) writing_.get();
}

void CheckpointWriter::wait() {
  if (writing_.valid()) writing_.get();
}

}  // namespace nabla
