#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace nabla {

// A read-only memory mapping of a whole file. data_error naming the file and the system's reason; also for what is no regular file.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(address_), size_}; }
  // Takes the pages of a part out of the process's memory; they come back from the file when they are looked at again.
  void release(std::span<const std::byte> part) const;

 private:
  std::string path_;
  void* address_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace nabla
