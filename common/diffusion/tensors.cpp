#include "common/diffusion/tensors.h"

#include "common/digest.h"
#include "common/error.h"
#include "common/safetensors.h"
#include "common/torch_file.h"

#include <torch/types.h>

namespace nabla {

namespace {

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

// A view of mapped memory, which is read-only: views must not be written to. `release` keeps the mapping alive as long as the view and then takes its pages
// out of memory, so that a model that is copied tensor by tensor is in memory once.
Tensor view_of(std::span<const std::byte> bytes, const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides,
               DType dtype, std::function<void(void*)> release) {
  auto* data = const_cast<std::byte*>(bytes.data());
  const auto options = at::TensorOptions().dtype(scalar_type(dtype));
  if (bytes.empty()) return at::empty(shape, options);
  if (reinterpret_cast<std::uintptr_t>(data) % byte_size(dtype) == 0) return at::from_blob(data, shape, strides, release, options);
  Tensor copy = at::empty_strided(shape, strides, options);
  std::memcpy(copy.data_ptr(), data, bytes.size());
  release(nullptr);
  return copy;
}

std::vector<std::int64_t> row_major_strides(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

TensorMap load_safetensors(const std::string& path) {
  const auto file = SafetensorsFile::open(path);
  TensorMap tensors;
  for (const auto& [name, info] : file->tensors()) {
    tensors[name] = view_of(file->bytes(name), info.shape, row_major_strides(info.shape), info.dtype,
                            [file, name = name](void*) { file->release(name); });
  }
  return tensors;
}

TensorMap load_torch_file(const std::string& path) {
  const auto file = TorchFile::open(path);
  TensorMap tensors;
  for (const auto& [name, tensor] : file->tensors()) {
    tensors[name] =
        view_of(tensor.bytes, tensor.shape, tensor.strides, tensor.dtype, [file, &tensor = tensor](void*) { file->release(tensor); });
  }
  return tensors;
}

}  // namespace

DType dtype_of(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kBool:
      return DType::kBool;
    case at::kByte:
      return DType::kU8;
    case at::kChar:
      return DType::kI8;
    case at::kShort:
      return DType::kI16;
    case at::kInt:
      return DType::kI32;
    case at::kLong:
      return DType::kI64;
    case at::kHalf:
      return DType::kF16;
    case at::kBFloat16:
      return DType::kBF16;
    case at::kFloat:
      return DType::kF32;
    case at::kDouble:
      return DType::kF64;
    default:
      throw data_error("[tensors] element type {} cannot be stored or sent", c10::toString(tensor.scalar_type()));
  }
}

at::ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return at::kBool;
    case DType::kU8:
      return at::kByte;
    case DType::kI8:
      return at::kChar;
    case DType::kI16:
      return at::kShort;
    case DType::kI32:
      return at::kInt;
    case DType::kI64:
      return at::kLong;
    case DType::kF16:
      return at::kHalf;
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kF32:
      return at::kFloat;
    case DType::kF64:
      return at::kDouble;
  }
  throw data_error("[tensors] unknown element type {}", static_cast<int>(dtype));
}

TensorMap load_tensors(const std::string& path) { return is_torch_file(path) ? load_torch_file(path) : load_safetensors(path); }

std::map<std::string, std::string> load_metadata(const std::string& path) { return SafetensorsFile::open(path)->metadata(); }

void save_tensors(const std::string& path, const TensorMap& tensors, std::map<std::string, std::string> metadata) {
  std::vector<Tensor> alive;
  std::map<std::string, TensorBytes> bytes;
  for (const auto& [name, tensor] : tensors) {
    alive.push_back(tensor.detach().cpu().contiguous());
    bytes[name] = {dtype_of(alive.back()), alive.back().sizes().vec(), bytes_of(alive.back())};
  }
  write_safetensors(path, bytes, std::move(metadata));
}

std::string digest_of(const TensorMap& tensors) {
  Digest digest;
  for (const auto& [name, tensor] : tensors) {
    const Tensor values = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
    const std::string heading = fmt::format("{}|F32|{}|", name, shape_string(values));
    digest.update(std::as_bytes(std::span(heading)));
    digest.update(bytes_of(values));
  }
  return digest.hex();
}

Tensor normal_tensor(std::vector<std::int64_t> shape, Philox stream) {
  Tensor tensor = at::empty(shape, at::kFloat);
  float* out = tensor.data_ptr<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) out[i] = static_cast<float>(stream.normal());
  return tensor;
}

Tensor at_least_float(const Tensor& tensor) { return tensor.to(c10::promoteTypes(tensor.scalar_type(), at::kFloat)); }

std::string shape_string(const Tensor& tensor) {
  std::string text = "[";
  for (std::int64_t i = 0; i < tensor.dim(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(tensor.size(i));
  return text + "]";
}

}  // namespace nabla
