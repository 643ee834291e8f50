#pragma once

#include "common/diffusion/placement.h"
#include "common/diffusion/tensors.h"

#include <torch/nn/module.h>

#include <string>
#include <vector>

namespace nabla {

// All parameters of a module by name (no copies).
TensorMap named_tensors(const torch::nn::Module& module);

// What a file gives for a module: tensors under the module's names, and the names of either side that the other lacks. Older spellings are understood: the
// first names of the VAE's attention, its 1x1 convolutions, text encoders without "text_model."; position ids are passed over.
struct ParameterMatch {
  TensorMap tensors;
  std::vector<std::string> missing, unexpected;  // sorted
  std::vector<std::string> wrong_shapes;         // "name has shape [3], the configuration asks for [4]"
};
ParameterMatch match_parameters(const torch::nn::Module& module, TensorMap tensors);
// The tensors of a match; data_error with the report unless everything is there, known and of its shape.
TensorMap require_complete(ParameterMatch match, const std::string& source);

// Copies tensors into a module's parameters by name, cast to the parameter's dtype. data_error naming `source`: missing, unexpected and badly shaped tensors
// are reported together; NaN and infinite weights are refused by name. Each tensor is let go of once it is copied.
void load_parameters(torch::nn::Module& module, TensorMap tensors, const std::string& source);

// data_error naming the tensor if it holds NaN or infinite values.
void require_finite(const std::string& name, const Tensor& tensor, const std::string& source);

// Gives every parameter another dtype and device without computing values for it: they are unset until loaded.
void place_parameters(torch::nn::Module& module, const Placement& placement);

// The same tensors under the names that a network of ours has, whichever library wrote them.
std::string modern_attention_name(std::string name);

}  // namespace nabla
