#pragma once

#include "tests/structure/source_tree.h"

namespace nabla {

// Lines that should not be in any text of the project: notes of unfinished work, paths of one machine, hosts of package registries.
// "path:line: what".
std::vector<std::string> unwanted_text(const SourceFile& file);

// Headers without #pragma once, and sources longer than the style page allows.
std::vector<std::string> shape_violations(const SourceFile& file);

}  // namespace nabla
