#pragma once

#include "tests/testing.h"

#include <torch/types.h>

#include <functional>

namespace nabla::testing {

// Central differences of `loss` in each of the float64 values, which are moved and put back.
inline at::Tensor finite_differences(const at::Tensor& values, const std::function<double()>& loss, double step) {
  const at::NoGradGuard no_grad;
  at::Tensor result = at::empty_like(values);
  double* at = values.data_ptr<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    const double middle = at[i];
    at[i] = middle + step;
    const double above = loss();
    at[i] = middle - step;
    const double below = loss();
    at[i] = middle;
    result.data_ptr<double>()[i] = (above - below) / (2 * step);
  }
  return result;
}

}  // namespace nabla::testing
