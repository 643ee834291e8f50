#pragma once

#include <unistd.h>

#include <cstdint>
#include <fstream>

namespace nabla {

// What this process has in memory now.
inline std::int64_t resident_bytes() {
  std::int64_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

}  // namespace nabla
