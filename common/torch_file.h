#pragma once

#include "common/dtype.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace nabla {

class MappedFile;

struct TorchTensor {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape, strides;  // in elements; several tensors may share a storage
  std::span<const std::byte> bytes;          // from the first element to the last one
};

// A dict of named tensors that torch.save wrote (.pt, .pth, .bin, .ckpt), itself or under its key "state_dict". Nothing of the file is run (pickle.h). Fully
// checked when opened: each tensor lies within its storage, each storage within the file, and nothing is allocated but the table of tensors. data_error
// naming the file and the tensor; values are not looked at.
class TorchFile {
 public:
  // The tensors' bytes are views of `bytes`.
  static TorchFile parse(std::span<const std::byte> bytes, const std::string& source);
  // The same of a mapped file, which lives as long as the object.
  static std::shared_ptr<const TorchFile> open(const std::string& path);

  const std::map<std::string, TorchTensor>& tensors() const { return tensors_; }
  // Names beside the tensors: training state, numbers, notes.
  const std::vector<std::string>& left_out() const { return left_out_; }
  // Takes a tensor's pages out of memory (MappedFile::release).
  void release(const TorchTensor& tensor) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, TorchTensor> tensors_;
  std::vector<std::string> left_out_;
};

// Whether a file is one that torch.save wrote, by its first bytes; where they say nothing, by its name.
bool is_torch_file(const std::string& path);

}  // namespace nabla
