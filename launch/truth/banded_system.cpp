#include "launch/truth/banded_system.h"

#include <algorithm>
#include <cmath>

namespace nabla::truth {

void BandedSystem::add_ridge(double share) {
  double largest = 0.0;
  for (std::size_t i = 0; i < size_; ++i) largest = std::max(largest, entry(i, i));
  if (largest == 0.0) largest = 1.0;
  for (std::size_t i = 0; i < size_; ++i) entry(i, i) += share * largest;
}

void BandedSystem::factor() {
  for (std::size_t i = 0; i < size_; ++i) {
    const std::size_t first = i > bandwidth_ ? i - bandwidth_ : 0;
    for (std::size_t j = first; j <= i; ++j) {
      double sum = entry(i, j);
      const std::size_t common = std::max(first, j > bandwidth_ ? j - bandwidth_ : 0);
      for (std::size_t k = common; k < j; ++k) sum -= entry(i, k) * entry(j, k);
      entry(i, j) = i == j ? std::sqrt(sum) : sum / entry(j, j);
    }
  }
}

std::vector<double> BandedSystem::solve(std::vector<double> right) const {
  for (std::size_t i = 0; i < size_; ++i) {
    const std::size_t first = i > bandwidth_ ? i - bandwidth_ : 0;
    for (std::size_t k = first; k < i; ++k) right[i] -= entry(i, k) * right[k];
    right[i] /= entry(i, i);
  }
  for (std::size_t i = size_; i-- > 0;) {
    right[i] /= entry(i, i);
    const std::size_t first = i > bandwidth_ ? i - bandwidth_ : 0;
    for (std::size_t k = first; k < i; ++k) right[k] -= entry(i, k) * right[i];
  }
  return right;
}

}  // namespace nabla::truth
