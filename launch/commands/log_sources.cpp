#include "launch/commands/log_sources.h"

#include "common/error.h"
#include "launch/yaml_config.h"

#include <algorithm>
#include <filesystem>

namespace nabla {

namespace fs = std::filesystem;

FoldersAndSettings split_words(const std::vector<std::string>& words) {
  FoldersAndSettings split;
  for (const auto& word : words) (word.find('=') == std::string::npos ? split.folders : split.assignments).push_back(word);
  return split;
}

std::string log_root(const std::string& folder) {
  // First, because a relabelled log has the configuration of the run it was made of, whose log.dir is not its own.
  if (fs::is_directory(folder + "/queue")) return folder + "/queue";
  if (!fs::is_regular_file(folder + "/config.yaml")) return folder;
  const std::string dir = load_config({.files = {folder + "/config.yaml"}, .assignments = {}}).log.dir;
  return dir.empty() ? folder : dir;
}

std::vector<std::string> logs_of(const std::vector<std::string>& folders, const std::string& command) {
  std::vector<std::string> logs;
  for (const auto& folder : folders) {
    if (!fs::is_directory(folder))
      throw data_error("[{}] there is no folder '{}'; name a run folder or a folder of trajectory logs", command, folder);
    const std::string queue = log_root(folder);
    if (!fs::is_directory(queue)) throw data_error("[{}] '{}' has its log in '{}' (log.dir), which is not there", command, folder, queue);
    std::vector<std::string> ranks;
    for (const auto& entry : fs::directory_iterator(queue)) {
      if (entry.is_directory() && entry.path().filename().string().starts_with("rank-")) ranks.push_back(entry.path().string());
    }
    std::ranges::sort(ranks);
    if (ranks.empty()) ranks.push_back(queue);
    logs.insert(logs.end(), ranks.begin(), ranks.end());
  }
  return logs;
}

}  // namespace nabla
