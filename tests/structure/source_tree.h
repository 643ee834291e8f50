#pragma once

#include <string>
#include <vector>

namespace nabla {

// A text file of the project; path is relative to the project's root.
struct SourceFile {
  std::string path, text;
};

// Every text file of the checkout that is written by people: sources, scripts, CMake, configuration and documents; not assets/, not what
// builds and runs leave behind. Sorted by path.
std::vector<SourceFile> read_project();

bool is_header(const SourceFile& file);  // .h
bool is_unit(const SourceFile& file);    // .cpp or .cu
bool starts_with_any(const std::string& path, const std::vector<std::string>& prefixes);

// One message a line, for a failing check.
std::string joined(const std::vector<std::string>& messages);

}  // namespace nabla
