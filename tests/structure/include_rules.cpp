#include "tests/structure/include_rules.h"

#include <fmt/format.h>

#include <map>
#include <set>
#include <sstream>

namespace nabla {
namespace {

struct IncludeLine {
  std::string path;  // of the including file
  int line = 0;
  bool quoted = false;
  std::string name;
};

std::vector<IncludeLine> includes_of(const SourceFile& file) {
  std::vector<IncludeLine> includes;
  std::istringstream lines(file.text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const std::size_t hash = line.find_first_not_of(" \t");
    if (hash == std::string::npos || line[hash] != '#') continue;
    const std::size_t word = line.find_first_not_of(" \t", hash + 1);
    if (word == std::string::npos || line.compare(word, 7, "include") != 0) continue;
    const std::size_t open = line.find_first_of("<\"", word);
    if (open == std::string::npos) continue;
    const bool quoted = line[open] == '"';
    const std::size_t close = line.find(quoted ? '"' : '>', open + 1);
    includes.push_back({file.path, number, quoted, line.substr(open + 1, close - open - 1)});
  }
  return includes;
}

std::string top_folder(const std::string& path) { return path.substr(0, path.find('/')); }

// Folder -> the folders it may include.
const std::map<std::string, std::set<std::string>> kMayInclude{
    {"common", {"common"}},
    {"protocol", {"protocol", "common"}},
    {"actors", {"actors", "protocol", "common"}},
    {"learner", {"learner", "protocol", "common"}},
    {"launch", {"launch", "learner", "actors", "protocol", "common"}},
    {"tests", {"tests", "launch", "learner", "actors", "protocol", "common"}},
};

// Folders of common/ that compute with tensors.
const std::vector<std::string> kTensorFolders{"common/diffusion/", "common/device/", "common/pocket/"};

// The names of the sources of the target learner_core, which knows no torch: "learner/ledger" for learner/ledger.cpp.
std::set<std::string> learner_core_stems(const std::vector<SourceFile>& files) {
  std::set<std::string> stems;
  for (const SourceFile& file : files) {
    if (file.path != "learner/CMakeLists.txt") continue;
    const std::size_t start = file.text.find("add_library(learner_core");
    if (start == std::string::npos) continue;
    std::istringstream words(file.text.substr(start, file.text.find(')', start) - start));
    for (std::string word; words >> word;)
      if (word.ends_with(".cpp")) stems.insert("learner/" + word.substr(0, word.size() - 4));
  }
  return stems;
}

bool is_torch_free(const std::string& path, const std::set<std::string>& learner_core) {
  if (path.starts_with("protocol/")) return true;
  if (path.starts_with("common/")) return !starts_with_any(path, kTensorFolders);
  return learner_core.contains(path.substr(0, path.rfind('.')));
}

bool is_torch_header(const std::string& name) { return starts_with_any(name, {"torch/", "ATen/", "c10/"}); }

std::string folder_fault(const IncludeLine& include) {
  if (!include.quoted) return "";
  const std::string from = top_folder(include.path), to = top_folder(include.name);
  if (!kMayInclude.contains(to)) return fmt::format("\"{}\" is not a path from the project's root", include.name);
  if (!kMayInclude.at(from).contains(to)) return fmt::format("{}/ must not include {}/ (\"{}\")", from, to, include.name);
  if (from == "protocol" && starts_with_any(include.name, kTensorFolders))
    return fmt::format("protocol/ must not include networks (\"{}\")", include.name);
  return "";
}

std::string torch_fault(const IncludeLine& include, const std::set<std::string>& learner_core) {
  if (include.name == "torch/torch.h") return "<torch/torch.h> costs 12 s a file; include the one header that is needed";
  const bool light = include.name == "ATen/core/Tensor.h";
  if (is_torch_free(include.path, learner_core)) {
    if (is_torch_header(include.name) && !light) return fmt::format("this file is free of torch, but includes <{}>", include.name);
    if (include.quoted && starts_with_any(include.name, kTensorFolders))
      return fmt::format("this file is free of torch, but includes \"{}\"", include.name);
  }
  if (include.path.ends_with(".cu") && is_torch_header(include.name)) return fmt::format("a .cu file includes <{}>", include.name);
  return "";
}

// A library and where it may be seen. Tests may use any of them, doctest only through tests/testing.h.
struct LibraryRule {
  std::vector<std::string> prefixes;  // of the header's name
  std::vector<std::string> allowed;   // of the including path
  bool headers = true;                // whether a header of ours may include it
  std::size_t max_sources = 1000;
};

const std::map<std::string, LibraryRule> kLibraries{
    {"yaml-cpp", {{"yaml-cpp/"}, {"launch/"}, false, 3}},
    {"CLI11", {{"CLI/"}, {"launch/"}}},
    {"Boost", {{"boost/"}, {"launch/"}}},
    {"msgpack", {{"msgpack"}, {"protocol/"}, false, 3}},
    {"ZeroMQ", {{"zmq"}, {"protocol/"}, false, 3}},
    {"spdlog", {{"spdlog/"}, {"common/"}, false, 3}},
    {"libpng", {{"png.h"}, {"common/"}, false, 3}},
    {"zlib", {{"zlib.h"}, {"common/diffusion/"}, false, 1}},
    {"c10d", {{"torch/csrc/distributed/"}, {"learner/group/"}}},
    {"NCCL", {{"nccl.h"}, {"common/device/", "learner/"}, false, 3}},
};

std::string library_fault(const IncludeLine& include) {
  if (include.name.starts_with("doctest") && include.path != "tests/testing.h" && include.path != "tests/main.cpp")
    return "doctest comes through \"tests/testing.h\" only";
  if (include.path.starts_with("tests/")) return "";
  for (const auto& [library, rule] : kLibraries) {
    if (!starts_with_any(include.name, rule.prefixes)) continue;
    if (!starts_with_any(include.path, rule.allowed)) return fmt::format("{} must not be seen outside {}", library, rule.allowed.front());
    if (!rule.headers && include.path.ends_with(".h")) return fmt::format("{} must not be seen in a header", library);
  }
  return "";
}

// Libraries that more sources see than their rule allows.
std::vector<std::string> crowded_libraries(const std::vector<IncludeLine>& includes) {
  std::vector<std::string> faults;
  for (const auto& [library, rule] : kLibraries) {
    std::set<std::string> sources;
    for (const IncludeLine& include : includes)
      if (!include.path.starts_with("tests/") && starts_with_any(include.name, rule.prefixes)) sources.insert(include.path);
    if (sources.size() > rule.max_sources)
      faults.push_back(fmt::format("{} is seen by {} sources; at most {}: {}", library, sources.size(), rule.max_sources,
                                   joined({sources.begin(), sources.end()})));
  }
  return faults;
}

}  // namespace

std::vector<std::string> include_violations(const std::vector<SourceFile>& files) {
  const std::set<std::string> learner_core = learner_core_stems(files);
  std::vector<std::string> faults;
  std::vector<IncludeLine> all;
  for (const SourceFile& file : files) {
    if (!(is_header(file) || is_unit(file)) || !kMayInclude.contains(top_folder(file.path))) continue;
    for (const IncludeLine& include : includes_of(file)) {
      all.push_back(include);
      for (const std::string& fault : {folder_fault(include), torch_fault(include, learner_core), library_fault(include)})
        if (!fault.empty()) faults.push_back(fmt::format("{}:{}: {}", include.path, include.line, fault));
    }
  }
  for (const std::string& fault : crowded_libraries(all)) faults.push_back(fault);
  return faults;
}

}  // namespace nabla
