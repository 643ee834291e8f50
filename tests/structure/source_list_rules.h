#pragma once

#include "tests/structure/source_tree.h"

namespace nabla {

// Sources that no CMakeLists.txt of their folder or a folder above names, so that nobody compiles them.
std::vector<std::string> unlisted_sources(const std::vector<SourceFile>& files);

// Debian packages of launch/packages.txt that docs/dependencies.md does not explain.
std::vector<std::string> unexplained_packages(const std::vector<SourceFile>& files);

// Lines of launch/requirements*.txt that pin no version or have no hash.
std::vector<std::string> loose_requirements(const std::vector<SourceFile>& files);

}  // namespace nabla
