#pragma once

#include "common/spread.h"

#include <cstdint>
#include <vector>

namespace nabla {

// What a run's own evaluations and `nabla eval` say of pictures. Pictures of one prompt are neighbours.

// Root mean square over prompts of the deviation within a prompt.
double deviation_within_prompts(const std::vector<double>& values, std::int64_t noises_per_prompt);

// Mean pairwise 1 - cosine of the feature vectors of each prompt; 0 where a prompt has one picture.
std::vector<double> diversity_by_prompt(const std::vector<std::vector<float>>& features, std::int64_t noises_per_prompt);
// Its mean over prompts.
double feature_diversity(const std::vector<std::vector<float>>& features, std::int64_t noises_per_prompt);

}  // namespace nabla
