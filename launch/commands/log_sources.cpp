#include "launch/commands/log_sources.h"

#include "common/error.h"

#include <algorithm>
#include <filesystem>

namespace nabla {

namespace fs = std::filesystem;

FoldersAndSettings split_words(const std::vector<std::string>& words) {
  FoldersAndSettings split;
  for (const auto& word : words) (word.find('=') == std::string::npos ? split.folders : split.assignments).push_back(word);
  return split;
}

std::vector<std::string> logs_of(const std::vector<std::string>& folders, const std::string& command) {
  std::vector<std::string> logs;
  for (const auto& folder : folders) {
    if (!fs::is_directory(folder))
      throw data_error("[{}] there is no folder '{}'; name a run folder or a folder of trajectory logs", command, folder);
    const std::string queue = fs::is_directory(folder + "/queue") ? folder + "/queue" : folder;
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
