#pragma once

#include "launch/truth/field.h"

#include <cstdint>
#include <vector>

namespace nabla::truth {

// Evenly spaced nodes, the same on every axis.
struct TableAxis {
  double low = -5.0, high = 5.0;
  std::int64_t nodes = 161;

  double spacing() const { return (high - low) / static_cast<double>(nodes - 1); }
};

// A loss near some rows: sum over rows and components of slope * step + curvature / 2 * step^2, step = change of the field's value there.
struct Parabolas {
  Tensor x;          // [R,d]
  Tensor slope;      // [R,d]
  Tensor curvature;  // [R], the same for all components
};

// A table a level over the nodes: piecewise linear on the line, bilinear in the plane, constant beyond the outer nodes. Starts at 0.
class TableField : public Field {
 public:
  // An axis a level, the same for all dimensions.
  TableField(std::vector<TableAxis> axes, std::int64_t dimensions);

  Tensor at(std::size_t level, const Tensor& x) const override;
  // Central differences of the nodes, between nodes interpolated as the values are: the table's own derivative jumps at every node, and an error of
  // the width of a cell would grow from level to level where it enters (reverse scores under stale y).
  Tensor jacobian(std::size_t level, const Tensor& x) const override;
  // Moves one level to the minimum of the parabolas' sum; nodes that no row is near stay.
  void minimize(std::size_t level, const Parabolas& rows);

  const Tensor& values(std::size_t level) const { return values_[level]; }  // [nodes^d, d]
  void set_values(std::size_t level, const Tensor& values) { values_[level] = values; }

 private:
  struct Corners {
    std::vector<Tensor> index;  // [R] each, the 2^d nodes around every row
    std::vector<Tensor> share;  // [R] each, summing to 1
  };
  Corners corners(std::size_t level, const Tensor& x) const;
  Tensor interpolate(std::size_t level, const Tensor& node_values, const Tensor& x) const;
  Tensor node_slopes(std::size_t level, std::int64_t axis) const;

  std::vector<TableAxis> axes_;
  std::int64_t dimensions_;
  std::vector<Tensor> values_;
};

}  // namespace nabla::truth
