#pragma once

#include "common/config/run_config.h"
#include "learner/optimizer.h"

#include <memory>
#include <vector>

namespace nabla {

// The optimiser that training.optimizer names, of the LoRA's and of the flow network's parameters: each has its own learning rate and decay.
std::unique_ptr<Optimizer> make_policy_optimizer(const TrainingConfig& training, std::vector<Tensor> parameters);
std::unique_ptr<Optimizer> make_flow_optimizer(const TrainingConfig& training, std::vector<Tensor> parameters);

}  // namespace nabla
