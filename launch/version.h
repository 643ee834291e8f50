#pragma once

#include <string>
#include <utility>
#include <vector>

namespace nabla {

// Name and value of what this binary is: version, torch, CUDA, compiler, libraries. Also stands in a run folder's env.json.
std::vector<std::pair<std::string, std::string>> version_facts();

}  // namespace nabla
