#pragma once

#include "common/diffusion/tensors.h"

#include <cstdint>
#include <vector>

namespace nabla {

// Letters: N pictures, F features.

// Frechet distance of two Gaussians fitted to features [N,F] and [M,F] (N, M >= 2; covariances divided by N - 1):
// |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)). The last trace is the nuclear norm of one N x M matrix, so F may be far above N.
// data_error for fewer than two rows or different widths.
double frechet_distance(const Tensor& a, const Tensor& b);

// The distance of each prompt between two sets of pictures whose rows come prompt by prompt, `noises` rows each. (Its mean is what the papers of
// this method call "FID": values depend on `noises`; compare only evaluations of the same number.)
std::vector<double> frechet_by_prompt(const Tensor& a, const Tensor& b, std::int64_t noises);

}  // namespace nabla
