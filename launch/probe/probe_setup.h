#pragma once

#include "common/diffusion/model_folder.h"
#include "launch/probe/probe.h"
#include "launch/probe/tensor_input.h"

namespace nabla {

// Type of a network's weights and arithmetic. usage_error on a name that is not known.
at::ScalarType network_dtype(const ProbeOptions& options);
// float64 where the network's is, else float32: of outputs, and of latents and pictures outside a network, which are never bfloat16.
at::ScalarType latent_dtype(const ProbeOptions& options);

TensorInput open_input(const ProbeOptions& options, at::ScalarType dtype);
// Writes tensors of any floating-point type in the type of outputs.
void save_output(const ProbeOptions& options, const TensorMap& tensors);

// In any form that ModelFolder opens.
ModelFolder open_model(const ProbeOptions& options);
std::int64_t count_parameters(const torch::nn::Module& module);

// Every line of a file, empty ones too; lines end at '\n' alone.
std::vector<std::string> read_lines(const std::string& path);

}  // namespace nabla
