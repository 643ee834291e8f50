#pragma once

#include <nlohmann/json.hpp>
#include <torch/types.h>

#include <functional>
#include <string>

namespace nabla {

// Each answers with one object: "check", "passed" where it judges, and what it measured.
using Checks = nlohmann::json;  // an array

// Kernels against their ATen forms in float64, with their GB/s beside a device copy's.
void check_kernels(Checks& checks);
// The embedded model on the GPU against the CPU: sampling, evaluation of points, one update, graphs.
void check_models(Checks& checks, const std::string& assets);
// Speed at Stable Diffusion v1.5's sizes with random weights, as a share of a matrix product's of the same run.
void measure_speed(Checks& checks);

// Seconds of a call, the mean of `calls` after `warm_up` more; waits for the GPU.
double seconds_per_call(int warm_up, int calls, const std::function<void()>& call);
// ||a - b|| / ||b||, in float64 on the CPU.
double relative_error(const at::Tensor& a, const at::Tensor& b);
// The most that tensors took on the GPU since the last call of forget_gpu_peak(), in GiB.
double gpu_peak_gib();
void forget_gpu_peak();

}  // namespace nabla
