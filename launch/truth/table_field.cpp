#include "launch/truth/table_field.h"

#include "launch/truth/banded_system.h"

#include <torch/types.h>

namespace nabla::truth {

namespace {

// Of the largest diagonal entry; far below what any row adds.
constexpr double kRidge = 1e-9;

std::vector<double> column(const Tensor& matrix, std::int64_t index) {
  const Tensor values = matrix.select(1, index).contiguous();
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}

}  // namespace

TableField::TableField(std::vector<TableAxis> axes, std::int64_t dimensions) : axes_(std::move(axes)), dimensions_(dimensions) {
  for (const auto& axis : axes_) values_.push_back(at::zeros({dimensions == 1 ? axis.nodes : axis.nodes * axis.nodes, dimensions}, at::kDouble));
}

TableField::Corners TableField::corners(std::size_t level, const Tensor& x) const {
  const TableAxis& axis = axes_[level];
  const Tensor place = (x - axis.low) / axis.spacing();
  // A state that is not a number stays one: training that ran away shows in what is measured, not here.
  const Tensor left = place.detach().nan_to_num(0.0).floor().clamp(0, axis.nodes - 2);
  const Tensor share = (place - left).clamp(0.0, 1.0), node = left.to(at::kLong);
  if (dimensions_ == 1) {
    const Tensor first = node.select(1, 0), after = share.select(1, 0);
    return {{first, first + 1}, {1.0 - after, after}};
  }
  const Tensor first = node.select(1, 0) * axis.nodes + node.select(1, 1);
  const Tensor u = share.select(1, 0), v = share.select(1, 1);
  return {{first, first + 1, first + axis.nodes, first + axis.nodes + 1}, {(1.0 - u) * (1.0 - v), (1.0 - u) * v, u * (1.0 - v), u * v}};
}

// node_values [nodes^d, C] -> [R,C].
Tensor TableField::interpolate(std::size_t level, const Tensor& node_values, const Tensor& x) const {
  const Corners near = corners(level, x);
  Tensor sum;
  for (std::size_t i = 0; i < near.index.size(); ++i) {
    const Tensor part = node_values.index_select(0, near.index[i]) * near.share[i].unsqueeze(1);
    sum = i == 0 ? part : sum + part;
  }
  return sum;
}

Tensor TableField::at(std::size_t level, const Tensor& x) const { return interpolate(level, values_[level], x); }

// Central differences along one axis, one-sided at its ends: [nodes^d, d].
Tensor TableField::node_slopes(std::size_t level, std::int64_t axis) const {
  const std::int64_t n = axes_[level].nodes;
  std::vector<std::int64_t> shape(static_cast<std::size_t>(dimensions_), n);
  shape.push_back(dimensions_);
  const Tensor values = values_[level].view(shape);
  const Tensor steps = (values.narrow(axis, 1, n - 1) - values.narrow(axis, 0, n - 1)) / axes_[level].spacing();
  const Tensor before = at::cat({steps.narrow(axis, 0, 1), steps}, axis), after = at::cat({steps, steps.narrow(axis, n - 2, 1)}, axis);
  return (0.5 * (before + after)).reshape({-1, dimensions_});
}

Tensor TableField::jacobian(std::size_t level, const Tensor& x) const {
  const at::NoGradGuard no_grad;
  // Beyond the outer nodes the table is constant.
  const Tensor inside = ((x >= axes_[level].low) & (x <= axes_[level].high)).to(at::kDouble);
  std::vector<Tensor> columns;
  for (std::int64_t axis = 0; axis < dimensions_; ++axis)
    columns.push_back(interpolate(level, node_slopes(level, axis), x) * inside.narrow(1, axis, 1));
  return at::stack(columns, 2);
}

void TableField::minimize(std::size_t level, const Parabolas& rows) {
  const Corners near = corners(level, rows.x);
  const std::size_t size = static_cast<std::size_t>(values_[level].size(0));
  const Tensor index = at::stack(near.index, 1).contiguous(), share = at::stack(near.share, 1).contiguous();
  const auto node = index.accessor<std::int64_t, 2>();
  const auto part = share.accessor<double, 2>();
  const Tensor slopes = rows.slope.contiguous(), curvatures = rows.curvature.contiguous();
  const auto curvature = curvatures.accessor<double, 1>();
  BandedSystem system(size, dimensions_ == 1 ? 1 : static_cast<std::size_t>(axes_[level].nodes) + 1);
  for (std::int64_t row = 0; row < rows.x.size(0); ++row) {
    for (std::int64_t i = 0; i < node.size(1); ++i) {
      for (std::int64_t j = 0; j < node.size(1); ++j) {
        system.add(static_cast<std::size_t>(node[row][i]), static_cast<std::size_t>(node[row][j]),
                   curvature[row] * part[row][i] * part[row][j]);
      }
    }
  }
  system.add_ridge(kRidge);
  system.factor();
  // The table's gradient: each row's slope, shared among its corners.
  Tensor gradient = at::zeros_like(values_[level]);
  for (std::size_t i = 0; i < near.index.size(); ++i) gradient.index_add_(0, near.index[i], slopes * near.share[i].unsqueeze(1));
  std::vector<Tensor> steps;
  for (std::int64_t component = 0; component < dimensions_; ++component)
    steps.push_back(-torch::tensor(system.solve(column(gradient, component)), at::kDouble));
  values_[level] = values_[level] + at::stack(steps, 1);
}

}  // namespace nabla::truth
