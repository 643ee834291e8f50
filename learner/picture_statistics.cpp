#include "learner/picture_statistics.h"

#include <algorithm>
#include <cmath>

namespace nabla {

namespace {

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double dot = 0, norm_a = 0, norm_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    dot += static_cast<double>(a[i]) * b[i];
    norm_a += static_cast<double>(a[i]) * a[i];
    norm_b += static_cast<double>(b[i]) * b[i];
  }
  return dot / std::max(std::sqrt(norm_a * norm_b), 1e-12);
}

}  // namespace

double deviation_within_prompts(const std::vector<double>& values, std::int64_t noises_per_prompt) {
  std::vector<double> variances;
  for (auto first = values.begin(); values.end() - first >= noises_per_prompt; first += noises_per_prompt) {
    const double deviation = spread_of({first, first + noises_per_prompt}).deviation;
    variances.push_back(deviation * deviation);
  }
  return std::sqrt(spread_of(variances).mean);
}

std::vector<double> diversity_by_prompt(const std::vector<std::vector<float>>& features, std::int64_t noises_per_prompt) {
  const auto group = static_cast<std::size_t>(noises_per_prompt);
  std::vector<double> diversities;
  for (std::size_t first = 0; first + group <= features.size(); first += group) {
    double sum = 0;
    for (std::size_t i = first; i < first + group; ++i) {
      for (std::size_t j = i + 1; j < first + group; ++j) sum += 1.0 - cosine(features[i], features[j]);
    }
    diversities.push_back(group < 2 ? 0.0 : 2.0 * sum / static_cast<double>(group * (group - 1)));
  }
  return diversities;
}

double feature_diversity(const std::vector<std::vector<float>>& features, std::int64_t noises_per_prompt) {
  return spread_of(diversity_by_prompt(features, noises_per_prompt)).mean;
}

}  // namespace nabla
