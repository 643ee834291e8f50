#include "tests/chaos/power_cut.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <vector>

namespace nabla::chaos {

namespace {

namespace fs = std::filesystem;

struct Remains {
  std::uintmax_t bytes = 0;
  std::vector<std::pair<std::uintmax_t, std::uintmax_t>> lost;  // from, to
};

void fill_with_zeros(const std::string& path, std::uintmax_t from, std::uintmax_t to) {
  to = std::min(to, fs::file_size(path));
  if (from >= to) return;
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(from));
  const std::string zeros(to - from, '\0');
  file.write(zeros.data(), static_cast<std::streamsize>(zeros.size()));
}

// What is there after the cut is durable.
void write_notes(const std::string& folder, const std::string& notes) {
  std::ofstream lines(notes);
  std::string names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.append(" ").append(entry.path().filename().string());
    if (entry.path().extension() == ".seg") lines << "file " << entry.path().string() << " " << entry.file_size() << "\n";
  }
  lines << "folder " << folder << names << "\n";
}

}  // namespace

void cut_power(const std::string& folder, const std::string& notes) {
  std::map<std::string, Remains> files;
  std::set<std::string> names;
  std::ifstream lines(notes);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string kind, path;
    words >> kind >> path;
    if (kind == "folder" && fs::path(path) == fs::path(folder)) {
      names.clear();
      for (std::string name; words >> name;) names.insert(name);
    }
    if (kind == "file") words >> files[path].bytes;
    if (kind == "cut") {
      std::uintmax_t end = 0;
      words >> end;
      for (auto& [from, to] : files[path].lost) to = std::min(to, end);
    }
    if (kind == "lost") {
      auto& range = files[path].lost.emplace_back();
      words >> range.first >> range.second;
    }
  }
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string path = entry.path().string();
    if (entry.path().extension() != ".seg") continue;
    if (!names.contains(entry.path().filename().string())) {
      fs::remove(path);
      continue;
    }
    const Remains& remains = files[path];
    fs::resize_file(path, std::min(remains.bytes, fs::file_size(path)));
    for (const auto& [from, to] : remains.lost) fill_with_zeros(path, from, to);
  }
  write_notes(folder, notes);
}

}  // namespace nabla::chaos
