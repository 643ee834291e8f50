#pragma once

#include <cstddef>
#include <vector>

namespace nabla::truth {

// Evenly spaced points of the line. A density holds a probability a unit of length at each.
struct Grid {
  double low = -7.0, spacing = 0.01;
  std::size_t size = 0;

  double point(std::size_t i) const { return low + spacing * static_cast<double>(i); }
  std::vector<double> points() const;
};
// From -reach to reach, fine enough that sums over Gaussians of deviation `finest` are exact to double precision for all practical purposes.
Grid make_grid(double reach, double finest);

using GridValues = std::vector<double>;

// The transition N(y; mean(x), sigma^2) between the grid's points, each row normalised to 1.
class GridTransition {
 public:
  GridTransition(const Grid& grid, GridValues mean, double sigma);
  GridValues push(const GridValues& density) const;  // of x -> of y
  GridValues pull(const GridValues& values) const;   // E[values(y) | x]

 private:
  template <class Visit>
  void visit_row(std::size_t x, Visit visit) const;

  Grid grid_;
  GridValues mean_;
  double sigma_;
};

// exp of the values, all divided by the largest.
GridValues exponentials(GridValues log_values);
// E[values(y) | x] under the transition times exp(log_flow(y)), normalised.
GridValues expectation_under_flow(const GridTransition& transition, const GridValues& log_flow, const GridValues& values);
GridValues normalised(const Grid& grid, GridValues values);
double total_variation(const Grid& grid, const GridValues& a, const GridValues& b);
struct Moments {
  double mean = 0.0, variance = 0.0;
};
Moments moments(const Grid& grid, const GridValues& density);

}  // namespace nabla::truth
