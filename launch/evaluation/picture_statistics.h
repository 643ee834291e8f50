#pragma once

#include "common/diffusion/tensors.h"

#include <cstdint>
#include <vector>

namespace nabla {

struct Spread {
  double mean = 0, deviation = 0;  // of the values themselves (divided by their number); 0 for none
};
Spread spread_of(const std::vector<double>& values);

// Root mean square over prompts of the deviation within a prompt, `noises` neighbours each.
double deviation_within_prompts(const std::vector<double>& values, std::int64_t noises);

// Mean over prompts of the mean pairwise 1 - cosine of rows [N,F] within a prompt; 0 for one picture a prompt.
double prompt_diversity(const Tensor& features, std::int64_t noises);

}  // namespace nabla
