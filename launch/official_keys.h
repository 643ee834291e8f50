#pragma once

#include <string>
#include <vector>

namespace nabla {

// A key of the official release's configuration that no field here has.
struct OfficialKey {
  const char* path;
  const char* advice;  // why, and what to set instead
};

const std::vector<OfficialKey>& official_only_keys();
// nullptr for every other key.
const OfficialKey* find_official_only_key(const std::string& path);

}  // namespace nabla
