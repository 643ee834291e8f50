#pragma once

#include "common/diffusion/tensors.h"

namespace nabla {

// Letters: N pictures, F features.

// Frechet distance of two Gaussians fitted to features [N,F] and [M,F] (N, M >= 2; covariances divided by N - 1):
// |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)). The last trace is the nuclear norm of one N x M matrix, so F may be far above N.
// data_error for fewer than two rows or different widths.
double frechet_distance(const Tensor& a, const Tensor& b);

// Mean over prompts of the distance between two sets of pictures whose rows come prompt by prompt, `noises` rows each. (What the papers of this
// method call "FID": values depend on `noises`; compare only evaluations of the same number.)
double frechet_per_prompt(const Tensor& a, const Tensor& b, std::int64_t noises);

}  // namespace nabla
