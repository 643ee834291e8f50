#include "learner/make_optimizer.h"

#include "learner/adamw.h"
#include "learner/lion.h"

#include <utility>

namespace nabla {

namespace {

std::unique_ptr<Optimizer> make_optimizer(const TrainingConfig& training, std::vector<Tensor> parameters, double lr, double weight_decay) {
  if (training.optimizer == "lion")
    return std::make_unique<Lion>(std::move(parameters), LionOptions{lr, training.lion_beta1, training.lion_beta2, weight_decay});
  const AdamWOptions options{lr, training.adam_beta1, training.adam_beta2, training.adam_epsilon, weight_decay};
  return std::make_unique<AdamW>(std::move(parameters), options);
}

}  // namespace

std::unique_ptr<Optimizer> make_policy_optimizer(const TrainingConfig& training, std::vector<Tensor> parameters) {
  return make_optimizer(training, std::move(parameters), training.lr, training.adam_weight_decay);
}

std::unique_ptr<Optimizer> make_flow_optimizer(const TrainingConfig& training, std::vector<Tensor> parameters) {
  return make_optimizer(training, std::move(parameters), training.flow_lr, training.flow_wd);
}

}  // namespace nabla
