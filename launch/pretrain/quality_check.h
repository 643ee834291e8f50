#pragma once

#include "launch/pretrain/pretrain_options.h"

namespace nabla {

// Samples options.captions held-out captions with the model in options.out and with an untrained one of its shape (50 steps, guidance 5, eta 1),
// lets options.out/checker.safetensors judge the pictures, prints the shares of right colour, shape and count as one JSON object on standard
// output and writes it to options.work/quality.json. Goes on where an earlier call with the same weights stopped. Returns 0.
int check_quality(const PretrainOptions& options);

}  // namespace nabla
