#include "tests/learner/truth_tables.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

namespace nabla::truth {

namespace {

// Eigenvalues below this share of a level's largest one belong to nodes that no row came near.
constexpr double kUnseen = 1e-10;

}  // namespace

LevelTables::LevelTables(std::int64_t levels, const std::vector<double>& nodes)
    : nodes_(torch::tensor(nodes, at::kDouble)),
      values_(at::zeros({levels, static_cast<std::int64_t>(nodes.size())}, at::kDouble).requires_grad_(true)) {}

Tensor LevelTables::at_level(std::int64_t level, const Tensor& x) const {
  const Tensor flat = x.reshape({-1});
  const Tensor left = (at::searchsorted(nodes_, flat.detach()) - 1).clamp(0, nodes_.size(0) - 2);
  const Tensor start = nodes_.index_select(0, left), end = nodes_.index_select(0, left + 1);
  const Tensor share = (flat - start) / (end - start);
  const Tensor row = values_.select(0, level);
  return (row.index_select(0, left) * (1.0 - share) + row.index_select(0, left + 1) * share).view_as(x);
}

void minimize(LevelTables& table, const std::function<Tensor()>& loss) {
  Tensor& values = table.values();
  const auto gradient = [&] { return torch::autograd::grad({loss()}, {values})[0]; };
  const auto move = [&](const Tensor& step) {
    const at::NoGradGuard no_grad;
    values.add_(step);
  };
  const Tensor slope = gradient();
  std::vector<Tensor> columns;
  for (std::int64_t node = 0; node < values.size(1); ++node) {
    Tensor unit = at::zeros_like(values);
    unit.select(1, node).fill_(1.0);
    move(unit);
    columns.push_back(gradient() - slope);
    move(-unit);
  }
  const Tensor inverse = at::linalg_pinv(at::stack(columns, 2), kUnseen, true);
  move(-inverse.matmul(slope.unsqueeze(2)).squeeze(2));
}

}  // namespace nabla::truth
