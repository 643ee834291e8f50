#pragma once

#include "launch/pretrain/pretrain_options.h"

namespace nabla {

// Trains the pocket reward (the aesthetic predictor's architecture) on the lantern preference of rendered and distorted pictures, prints how
// well it and its picture gradient agree with the truth, and writes options.out/reward. Resumes from options.work.
int train_reward(const PretrainOptions& options);

}  // namespace nabla
