#include "tests/structure/source_tree.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

namespace nabla {
namespace {

namespace fs = std::filesystem;

const std::set<std::string> kExtensions{".h", ".cpp", ".cu", ".cmake", ".txt", ".sh", ".py", ".md", ".json", ".yaml", ".yml"};
const std::vector<std::string> kFolders{".ci", "actors", "cmake", "common", "configs", "docs", "launch", "learner", "protocol", "tests"};

std::string read_text(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

bool is_text(const fs::path& path) { return kExtensions.contains(path.extension()) || path.parent_path().filename() == ".ci"; }

}  // namespace

std::vector<SourceFile> read_project() {
  const fs::path root = NABLA_SOURCE_DIR;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(root))
    if (entry.is_regular_file() && is_text(entry.path())) paths.push_back(entry.path());
  for (const std::string& folder : kFolders) {
    if (!fs::exists(root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder))
      if (entry.is_regular_file() && is_text(entry.path())) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<SourceFile> files;
  for (const fs::path& path : paths) files.push_back({path.lexically_relative(root), read_text(path)});
  return files;
}

bool is_header(const SourceFile& file) { return file.path.ends_with(".h"); }
bool is_unit(const SourceFile& file) { return file.path.ends_with(".cpp") || file.path.ends_with(".cu"); }

bool starts_with_any(const std::string& path, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&path](const std::string& prefix) { return path.starts_with(prefix); });
}

std::string joined(const std::vector<std::string>& messages) {
  std::string text;
  for (const std::string& message : messages) text += "\n  " + message;
  return text;
}

}  // namespace nabla
