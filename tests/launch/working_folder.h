#pragma once

#include "tests/common/temporary_folder.h"

#include <filesystem>

namespace nabla {

// Works in a fresh folder of its own.
class WorkingFolder {
 public:
  WorkingFolder() : before_(std::filesystem::current_path()) { std::filesystem::current_path(folder_.path()); }
  ~WorkingFolder() { std::filesystem::current_path(before_); }
  WorkingFolder(const WorkingFolder&) = delete;
  WorkingFolder& operator=(const WorkingFolder&) = delete;

 private:
  TemporaryFolder folder_;
  std::filesystem::path before_;
};

}  // namespace nabla
