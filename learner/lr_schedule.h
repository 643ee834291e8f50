#pragma once

#include "common/config/run_config.h"

#include <cstdint>

namespace nabla {

// What both learning rates are multiplied with in this update, as diffusers' and transformers' get_scheduler computes it: from 0 up to 1 over
// training.lr_warmup_steps updates (the first one moves nothing), then by training.lr_scheduler, whose end is training.updates. A function of the update alone,
// so that a run that goes on needs no state of it.
double lr_factor(const TrainingConfig& training, std::int64_t update);

}  // namespace nabla
