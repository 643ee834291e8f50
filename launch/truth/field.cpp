#include "launch/truth/field.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

namespace nabla::truth {

Tensor Field::jacobian(std::size_t level, const Tensor& x) const {
  const at::AutoGradMode with_graph(true);
  const Tensor leaf = x.detach().requires_grad_(true);
  const Tensor values = at(level, leaf);
  std::vector<Tensor> rows;
  for (std::int64_t i = 0; i < x.size(1); ++i) {
    // Rows do not mix, so the gradient of a sum holds every row's own.
    rows.push_back(torch::autograd::grad({values.select(1, i).sum()}, {leaf}, {}, true)[0]);
  }
  return at::stack(rows, 1);
}

}  // namespace nabla::truth
