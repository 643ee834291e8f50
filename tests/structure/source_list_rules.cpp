#include "tests/structure/source_list_rules.h"

#include <algorithm>
#include <set>
#include <sstream>

namespace nabla {
namespace {

const std::string kListFile = "CMakeLists.txt";

// The words of all CMakeLists.txt, as paths from the root: "common/config/fields.cpp".
std::set<std::string> listed_paths(const std::vector<SourceFile>& files) {
  std::set<std::string> listed;
  for (const SourceFile& file : files) {
    if (!file.path.ends_with(kListFile)) continue;
    const std::string folder = file.path.substr(0, file.path.size() - kListFile.size());
    std::string text = file.text;
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c == '(' || c == ')' || c == '"'; }, ' ');
    std::istringstream words(text);
    for (std::string word; words >> word;) listed.insert(folder + word);
  }
  return listed;
}

std::string text_of(const std::vector<SourceFile>& files, const std::string& path) {
  const auto found = std::find_if(files.begin(), files.end(), [&path](const SourceFile& file) { return file.path == path; });
  return found == files.end() ? "" : found->text;
}

}  // namespace

std::vector<std::string> unlisted_sources(const std::vector<SourceFile>& files) {
  const std::set<std::string> listed = listed_paths(files);
  std::vector<std::string> unlisted;
  for (const SourceFile& file : files)
    if (is_unit(file) && file.path != "tests/main.cpp" && !listed.contains(file.path)) unlisted.push_back(file.path);
  return unlisted;
}

std::vector<std::string> unexplained_packages(const std::vector<SourceFile>& files) {
  const std::string document = text_of(files, "docs/dependencies.md");
  std::istringstream lines(text_of(files, "launch/packages.txt"));
  std::vector<std::string> unexplained;
  for (std::string package; std::getline(lines, package);) {
    if (package.empty() || package.starts_with('#')) continue;
    if (document.find("`" + package + "`") == std::string::npos) unexplained.push_back(package);
  }
  return unexplained;
}

std::vector<std::string> loose_requirements(const std::vector<SourceFile>& files) {
  std::vector<std::string> loose;
  for (const SourceFile& file : files) {
    if (!file.path.starts_with("launch/requirements")) continue;
    std::istringstream lines(file.text);
    std::string line, requirement;
    bool hashed = true;
    while (std::getline(lines, line)) {
      if (line.empty() || line.starts_with('#') || line.starts_with("-r ")) continue;
      if (line.starts_with(' ')) {
        hashed = hashed || line.find("--hash=sha256:") != std::string::npos;
        continue;
      }
      if (!hashed) loose.push_back(requirement);
      requirement = line;
      hashed = line.find("--hash=sha256:") != std::string::npos;
      if (line.find("==") == std::string::npos) loose.push_back(requirement);
    }
    if (!hashed) loose.push_back(requirement);
  }
  return loose;
}

}  // namespace nabla
