#pragma once

#include "tests/testing.h"

#include <string>

namespace nabla {

// A file of tests/data/parity, which the scripts in tests/oracles/ made.
inline std::string parity_file(const std::string& name) { return std::string(NABLA_PARITY_DATA) + "/" + name; }

// ||a - b|| / ||b||
inline double relative_error(const at::Tensor& a, const at::Tensor& b) {
  return ((a.to(at::kDouble) - b.to(at::kDouble)).norm() / b.to(at::kDouble).norm()).item<double>();
}

}  // namespace nabla
