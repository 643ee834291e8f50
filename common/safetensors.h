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

struct TensorInfo {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::size_t begin = 0;  // bytes, relative to the data section
  std::size_t end = 0;
};

// A read-only memory-mapped safetensors file, fully validated when opened (header size, JSON, overlaps, holes, exact length).
// Opening throws data_error naming the file and the fault; values are not looked at.
class SafetensorsFile {
 public:
  static std::shared_ptr<const SafetensorsFile> open(const std::string& path);
  // The same for bytes that the caller keeps; `name` stands for the file in messages.
  static std::shared_ptr<const SafetensorsFile> parse(std::span<const std::byte> content, const std::string& name);
  virtual ~SafetensorsFile() = default;

  const std::string& path() const { return path_; }
  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // Bytes of one tensor, valid as long as the file object lives. Throws data_error if there is none of that name.
  std::span<const std::byte> bytes(const std::string& name) const;
  // Takes the pages of one tensor out of memory (MappedFile::release); of an open file only.
  void release(const std::string& name) const;

 protected:
  std::string path_;
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
  std::span<const std::byte> data_;
};

struct TensorBytes {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

// Writes canonical order (dtype descending, then name), metadata {"format": "pt"} added, atomically: tmp, fsync, rename, fsync folder.
void write_safetensors(const std::string& path, const std::map<std::string, TensorBytes>& tensors,
                       std::map<std::string, std::string> metadata = {});

}  // namespace nabla
