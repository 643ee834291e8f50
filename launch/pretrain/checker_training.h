#pragma once

#include "common/pocket/checker.h"
#include "launch/pretrain/pretrain_options.h"

#include <cstdint>

namespace nabla {

// Shares of right answers.
struct CheckerAccuracy {
  double shape = 0.0, color = 0.0, count = 0.0;
};

// The checker on `pictures` clean rendered pictures it has never seen.
CheckerAccuracy held_out_accuracy(pocket::Checker& checker, std::uint64_t seed, std::int64_t pictures);

// Trains the picture checker on rendered pictures, clean and imperfect, prints its accuracy on held-out ones and writes
// options.out/checker.safetensors. Resumes from options.work.
int train_checker(const PretrainOptions& options);

}  // namespace nabla
