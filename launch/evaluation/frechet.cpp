#include "launch/evaluation/frechet.h"

#include "common/error.h"

#include <torch/types.h>

#include <algorithm>

#include <cmath>

namespace nabla {

namespace {

// Rows around their mean, divided so that centred^T centred is the covariance.
Tensor centred(const Tensor& features) {
  return (features - features.mean(0, true)) / std::sqrt(static_cast<double>(features.size(0) - 1));
}

}  // namespace

double frechet_distance(const Tensor& a, const Tensor& b) {
  if (a.dim() != 2 || b.dim() != 2 || a.size(1) != b.size(1) || a.size(0) < 2 || b.size(0) < 2) {
    throw data_error("[eval] features of shape {} and {} have no Frechet distance; two or more rows of equal width are needed",
                     shape_string(a), shape_string(b));
  }
  const Tensor left = a.to(at::kDouble), right = b.to(at::kDouble);
  const Tensor deviations_left = centred(left), deviations_right = centred(right);
  // tr((L'L R'R)^(1/2)) = sum of the singular values of L R'.
  const double common = at::linalg_svdvals(deviations_left.matmul(deviations_right.t())).sum().item<double>();
  const double shift = (left.mean(0) - right.mean(0)).square().sum().item<double>();
  // Of two equal sets the terms cancel, but for rounding.
  return std::max(0.0, shift + deviations_left.square().sum().item<double>() + deviations_right.square().sum().item<double>() - 2.0 * common);
}

std::vector<double> frechet_by_prompt(const Tensor& a, const Tensor& b, std::int64_t noises) {
  std::vector<double> distances;
  for (std::int64_t first = 0; first + noises <= a.size(0); first += noises)
    distances.push_back(frechet_distance(a.narrow(0, first, noises), b.narrow(0, first, noises)));
  return distances;
}

}  // namespace nabla
