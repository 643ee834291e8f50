#pragma once

#include "common/dtype.h"
#include "common/philox.h"

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

namespace nabla {

using at::Tensor;
using TensorMap = std::map<std::string, Tensor>;

DType dtype_of(const Tensor& tensor);
at::ScalarType scalar_type(DType dtype);

// All tensors of a safetensors file as views of the mapping (zero copy; the mapping lives as long as a view does).
TensorMap load_tensors(const std::string& path);
std::map<std::string, std::string> load_metadata(const std::string& path);
void save_tensors(const std::string& path, const TensorMap& tensors, std::map<std::string, std::string> metadata = {});

// XXH3-128 in hexadecimal over sorted (name, dtype, shape, float32 bytes).
std::string digest_of(const TensorMap& tensors);

// Standard normal float32 tensor on the CPU from one stream.
Tensor normal_tensor(std::vector<std::int64_t> shape, Philox stream);

// The tensor in float32, or as it is where its type is wider.
Tensor at_least_float(const Tensor& tensor);

// "[2, 3]" for messages.
std::string shape_string(const Tensor& tensor);

}  // namespace nabla
