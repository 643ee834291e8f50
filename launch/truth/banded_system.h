#pragma once

#include <cstddef>
#include <vector>

namespace nabla::truth {

// A symmetric positive definite matrix whose entries (i, j) vanish for |i - j| > bandwidth, solved by Cholesky's factors.
class BandedSystem {
 public:
  BandedSystem(std::size_t size, std::size_t bandwidth) : size_(size), bandwidth_(bandwidth), lower_(size * (bandwidth + 1), 0.0) {}

  void add(std::size_t i, std::size_t j, double value) {
    if (j <= i) entry(i, j) += value;
  }
  // Adds `share` of the largest diagonal entry to all of them, so that unknowns that nothing determines stay at 0.
  void add_ridge(double share);
  // Replaces the matrix by its factor.
  void factor();
  // After factor(): the solution for one right-hand side.
  std::vector<double> solve(std::vector<double> right) const;

 private:
  double& entry(std::size_t i, std::size_t j) { return lower_[i * (bandwidth_ + 1) + (i - j)]; }
  double entry(std::size_t i, std::size_t j) const { return lower_[i * (bandwidth_ + 1) + (i - j)]; }

  std::size_t size_, bandwidth_;
  std::vector<double> lower_;  // by row: the diagonal, then leftwards
};

}  // namespace nabla::truth
