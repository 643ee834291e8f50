#pragma once

#include "common/diffusion/tensors.h"

#include <string>

namespace torch::nn {
class Module;
}

namespace nabla {

// Copies on the CPU that nothing else writes to.
TensorMap copies_of(const TensorMap& tensors);
// Writes the values of `from` into the tensors of `to`. data_error, naming `what` and the tensor, unless names and shapes are the same.
void copy_values(const char* what, const TensorMap& from, const TensorMap& to);

// The module's own tensors, not copies.
TensorMap parameters_by_name(const torch::nn::Module& module);

void add_with_prefix(TensorMap& target, const std::string& prefix, const TensorMap& tensors);
// Those of a prefix, without it.
TensorMap with_prefix(const TensorMap& tensors, const std::string& prefix);

}  // namespace nabla
