#pragma once

#include "tests/structure/source_tree.h"

namespace nabla {

// What #include lines break: the walls between folders, the folders without torch, and the few files that may see a library.
// "path:line: reason", in the order of the files.
std::vector<std::string> include_violations(const std::vector<SourceFile>& files);

}  // namespace nabla
