#pragma once

#include "common/diffusion/tensors.h"

#include <torch/nn/module.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace nabla {

struct TrainerOptions {
  std::string name = {};                  // of log lines and of the checkpoint file
  std::string checkpoint = {};            // safetensors file; training resumes from it when it exists
  std::uint64_t seed = 0;                 // of the pictures and the noise; a checkpoint of another seed is refused
  std::int64_t steps = 0, checkpoint_every = 250, warmup = 50;
  double learning_rate = 1e-3, weight_decay = 1e-4, beta1 = 0.9, beta2 = 0.99, max_grad_norm = 1.0;
  double ema_decay = 0.0;                 // 0: no moving average
};

// Trains a module from nothing with AdamW and a cosine schedule. Every step is a pure function of the step number and the state, and the state (weights,
// moments, average, step) is saved atomically, so a killed training goes on to the same bits.
class Trainer {
 public:
  Trainer(std::shared_ptr<torch::nn::Module> module, TrainerOptions options);
  // loss(step) builds the loss of one step. Runs up to options.steps and saves; `after_checkpoint` (may be empty) is
  // called after each save.
  void run(const std::function<Tensor(std::int64_t step)>& loss, const std::function<void(std::int64_t step)>& after_checkpoint);
  // Puts the moving average into the module (or does nothing without one); what is trained further is not touched in the checkpoint.
  void use_average();
  bool finished() const { return step_ >= options_.steps; }
  std::int64_t step() const { return step_; }
  double smoothed_loss() const { return smoothed_loss_; }
  double seconds() const { return seconds_; }

 private:
  void apply_gradients();
  void note_loss(double loss);
  void log_progress(double seconds, std::int64_t steps) const;
  void save() const;
  void load();

  std::shared_ptr<torch::nn::Module> module_;
  TrainerOptions options_;
  std::vector<std::string> names_;
  std::vector<Tensor> parameters_, mean_, square_, average_, buffers_;
  std::vector<std::string> buffer_names_;
  std::int64_t step_ = 0, first_step_ = 0;
  double smoothed_loss_ = 0.0, seconds_ = 0.0;
};

}  // namespace nabla
