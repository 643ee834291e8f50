#include "launch/probe/tensor_input.h"

#include "common/error.h"
#include "common/nearest.h"

#include <torch/types.h>

#include <algorithm>
#include <sstream>

namespace nabla {

namespace {

// "N,3,H,W" -> "N", "3", "H", "W".
std::vector<std::string> letters_of(const std::string& shape) {
  std::vector<std::string> letters;
  std::istringstream text(shape);
  for (std::string letter; std::getline(text, letter, ',');) letters.push_back(letter);
  return letters;
}

bool is_size(const std::string& letter) { return letter.front() >= '0' && letter.front() <= '9'; }

std::string type_name(const Tensor& tensor) { return std::string(name_of(dtype_of(tensor))); }

}  // namespace

TensorInput::TensorInput(const std::string& path, at::Device device, at::ScalarType dtype)
    : path_(path), device_(device), dtype_(dtype), tensors_(load_tensors(path)) {}

Tensor TensorInput::floats(const std::string& name, const std::string& shape) {
  const Tensor& tensor = find(name, "floating-point numbers", shape);
  if (!tensor.is_floating_point()) {
    throw data_error("[probe] {}: tensor '{}' of shape {} has type {}, expected floating-point numbers (F32, F64, F16 or BF16)", path_,
                     name, shape_string(tensor), type_name(tensor));
  }
  check_shape(name, tensor, shape);
  return tensor.to(device_, dtype_);
}

Tensor TensorInput::integers(const std::string& name, const std::string& shape) {
  const Tensor& tensor = find(name, "int64", shape);
  if (tensor.scalar_type() != at::kLong) {
    throw data_error("[probe] {}: tensor '{}' of shape {} has type {}, expected int64 (I64)", path_, name, shape_string(tensor),
                     type_name(tensor));
  }
  check_shape(name, tensor, shape);
  return tensor.to(device_);
}

Tensor TensorInput::flags(const std::string& name, const std::string& shape) {
  const Tensor& tensor = find(name, "uint8", shape);
  const bool is_flag = tensor.scalar_type() == at::kByte || tensor.scalar_type() == at::kBool;
  if (!is_flag || (tensor.numel() > 0 && tensor.max().item<std::int64_t>() > 1)) {
    throw data_error("[probe] {}: tensor '{}' of shape {} has type {}, expected uint8 (U8) of zeros and ones", path_, name,
                     shape_string(tensor), type_name(tensor));
  }
  check_shape(name, tensor, shape);
  return tensor.to(device_, at::kBool);
}

void TensorInput::finish() const {
  for (const auto& [name, tensor] : tensors_) {
    if (std::find(asked_.begin(), asked_.end(), name) != asked_.end()) continue;
    throw data_error("[probe] {}: tensor '{}' of shape {} is not expected here; inputs are {}", path_, name, shape_string(tensor),
                     comma_list(asked_));
  }
}

const Tensor& TensorInput::find(const std::string& name, const std::string& type, const std::string& shape) const {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) return found->second;
  std::vector<std::string> present;
  for (const auto& [other, tensor] : tensors_) present.push_back(other);
  throw data_error("[probe] {}: tensor '{}' is missing, expected {} of shape {}; the file holds {}", path_, name, type, describe(shape),
                   present.empty() ? "no tensor" : comma_list(present));
}

void TensorInput::check_shape(const std::string& name, const Tensor& tensor, const std::string& shape) {
  const std::vector<std::string> letters = letters_of(shape);
  bool fits = tensor.dim() == static_cast<std::int64_t>(letters.size()) && tensor.numel() > 0;
  for (std::size_t i = 0; fits && i < letters.size(); ++i) {
    const std::int64_t given = tensor.size(static_cast<std::int64_t>(i));
    const auto known = sizes_.find(letters[i]);
    if (is_size(letters[i])) fits = given == std::stoll(letters[i]);
    if (known != sizes_.end()) fits = given == known->second;
  }
  if (!fits) {
    throw data_error("[probe] {}: tensor '{}' has shape {}, expected {}", path_, name, shape_string(tensor), describe(shape));
  }
  for (std::size_t i = 0; i < letters.size(); ++i) sizes_.emplace(letters[i], tensor.size(static_cast<std::int64_t>(i)));
  asked_.push_back(name);
}

// "[N,C,h,w] with N = 2, C = 4"
std::string TensorInput::describe(const std::string& shape) const {
  std::vector<std::string> known;
  for (const auto& letter : letters_of(shape)) {
    const auto found = sizes_.find(letter);
    if (found != sizes_.end() && !is_size(letter)) known.push_back(fmt::format("{} = {}", letter, found->second));
  }
  return known.empty() ? fmt::format("[{}]", shape) : fmt::format("[{}] with {}", shape, comma_list(known));
}

}  // namespace nabla
