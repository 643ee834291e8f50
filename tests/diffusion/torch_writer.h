#pragma once

#include "common/diffusion/tensors.h"
#include "common/files.h"
#include "tests/common/torch_bytes.h"

#include <ATen/core/Tensor.h>

namespace nabla {

inline std::string storage_type(const Tensor& tensor) {
  switch (dtype_of(tensor)) {
    case DType::kF16:
      return "HalfStorage";
    case DType::kBF16:
      return "BFloat16Storage";
    case DType::kI64:
      return "LongStorage";
    default:
      return "FloatStorage";
  }
}

enum class StateDict { kBare, kWrapped };  // wrapped: {"epoch": 3, "state_dict": {...}}, as trainers write it

// A file of torch.save with these tensors, one storage each.
inline void write_torch_file(const std::string& path, const TensorMap& tensors, StateDict form = StateDict::kBare) {
  std::vector<std::string> storages;
  std::string items;
  for (const auto& [name, given] : tensors) {
    const Tensor tensor = given.contiguous();
    const TensorPickle pickle{.type = storage_type(tensor),
                              .key = std::to_string(storages.size()),
                              .count = tensor.numel(),
                              .shape = tensor.sizes().vec(),
                              .strides = tensor.strides().vec()};
    items += pickle_text(name) + pickle_tensor(pickle);
    storages.emplace_back(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
  }
  const std::string dict = "}(" + items + "u";
  const std::string content =
      form == StateDict::kBare ? dict : std::string("}(") + pickle_text("epoch") + pickle_integer(3) + pickle_text("state_dict") + dict + "u";
  write_file(path, make_torch_file("\x80\x02" + content + ".", storages));
}

}  // namespace nabla
