#pragma once

#include <array>
#include <string>
#include <vector>

namespace nabla {

// CLIP's printable stand-in (UTF-8) of each byte.
const std::array<std::string, 256>& byte_symbols();
// The same in the order of the vocabulary's first 256 ids.
std::vector<std::string> byte_symbols_in_vocabulary_order();

}  // namespace nabla
