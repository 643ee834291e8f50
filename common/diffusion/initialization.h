#pragma once

#include <torch/nn/module.h>

#include <cstdint>

namespace nabla {

// Values for a network trained from nothing, after PyTorch's defaults: weights of convolutions and linears uniform in +-1/sqrt(fan in), biases too,
// norms 1 and 0, embeddings normal with deviation 0.02. Deterministic: parameter i (in name order) draws from stream (seed, kInitialization, i).
void initialize_parameters(torch::nn::Module& module, std::uint64_t seed);

}  // namespace nabla
