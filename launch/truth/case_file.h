#pragma once

#include "launch/truth/truth_case.h"

#include <string>

namespace nabla::truth {

// A case from a YAML file; docs/truth.md shows one. usage_error naming file:line:column, the key and what was expected: an unknown key, a value of
// another kind, sizes that do not fit each other, a covariance that is not positive definite, laws that reach too far for a grid.
TruthCase read_case_file(const std::string& path);
TruthCase parse_case(const std::string& yaml, const std::string& source);

}  // namespace nabla::truth
