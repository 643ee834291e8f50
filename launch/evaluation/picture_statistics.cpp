#include "launch/evaluation/picture_statistics.h"

#include <torch/types.h>

#include <cmath>
#include <numeric>

namespace nabla {

Spread spread_of(const std::vector<double>& values) {
  if (values.empty()) return {};
  const auto count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0.0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, std::sqrt(squares / count)};
}

double deviation_within_prompts(const std::vector<double>& values, std::int64_t noises) {
  const auto group = static_cast<std::size_t>(noises);
  double variance = 0.0;
  std::size_t prompts = 0;
  for (std::size_t first = 0; first + group <= values.size(); first += group, ++prompts) {
    const double deviation = spread_of({values.begin() + static_cast<std::ptrdiff_t>(first), values.begin() + static_cast<std::ptrdiff_t>(first + group)}).deviation;
    variance += deviation * deviation;
  }
  return prompts == 0 ? 0.0 : std::sqrt(variance / static_cast<double>(prompts));
}

double prompt_diversity(const Tensor& features, std::int64_t noises) {
  if (noises < 2) return 0.0;
  const Tensor unit = features.to(at::kDouble) / features.to(at::kDouble).norm(2, 1, true).clamp_min(1e-12);
  const Tensor groups = unit.view({-1, noises, features.size(1)});
  const Tensor cosines = groups.matmul(groups.transpose(1, 2));  // [P, noises, noises], ones on the diagonal
  const double pairs = static_cast<double>(groups.size(0) * noises * (noises - 1));
  return 1.0 - (cosines.sum().item<double>() - cosines.diagonal(0, 1, 2).sum().item<double>()) / pairs;
}

}  // namespace nabla
