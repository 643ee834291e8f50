#pragma once

#include <cstdint>
#include <string>

namespace nabla {

// Room on a disk that a file of its own takes until it is needed. The file goes with this object; one that a killed process left is taken over. One thread at a
// time.
class DiskReserve {
 public:
  explicit DiskReserve(std::string path) : path_(std::move(path)) {}
  ~DiskReserve() { release(); }
  DiskReserve(const DiskReserve&) = delete;
  DiskReserve& operator=(const DiskReserve&) = delete;

  // Takes that many bytes, in the folder of the path, which is made. Less than it has already changes nothing. failure() with the reason where they cannot be
  // had; then it has what it had.
  void hold(std::uint64_t bytes);
  void release();
  std::uint64_t bytes() const { return bytes_; }

 private:
  const std::string path_;
  std::uint64_t bytes_ = 0;
};

}  // namespace nabla
