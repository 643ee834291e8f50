#pragma once

#include "common/diffusion/tensors.h"

#include <map>
#include <string>
#include <vector>

namespace nabla {

// The tensors of an input file, each asked for by name and checked. A shape is written "N,C,h,w" or "N,3,H,W": a letter stands for the size
// that it was fixed to or met with first, and before that for any size of at least 1. What does not fit is a data_error naming the file, the
// tensor, its shape and what was expected.
class TensorInput {
 public:
  // Floating-point tensors come in `dtype`, all on `device`.
  TensorInput(const std::string& path, at::Device device, at::ScalarType dtype);

  void fix(const std::string& letter, std::int64_t size) { sizes_[letter] = size; }
  std::int64_t size(const std::string& letter) const { return sizes_.at(letter); }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  Tensor floats(const std::string& name, const std::string& shape);    // of any floating-point type
  Tensor integers(const std::string& name, const std::string& shape);  // of type int64
  Tensor flags(const std::string& name, const std::string& shape);     // of type uint8 or bool, 0 or 1; comes as bool
  // Call it when all inputs have been asked for: no tensor may be left over.
  void finish() const;
  const std::string& path() const { return path_; }

 private:
  const Tensor& find(const std::string& name, const std::string& type, const std::string& shape) const;
  void check_shape(const std::string& name, const Tensor& tensor, const std::string& shape);
  std::string describe(const std::string& shape) const;

  std::string path_;
  at::Device device_;
  at::ScalarType dtype_;
  TensorMap tensors_;
  std::map<std::string, std::int64_t> sizes_;
  std::vector<std::string> asked_;
};

}  // namespace nabla
