#pragma once

#include <string>
#include <vector>

namespace nabla {

// Words of a command line, where CLI11 cannot tell folders from settings.
struct FoldersAndSettings {
  std::vector<std::string> folders, assignments;  // without and with '='
};
FoldersAndSettings split_words(const std::vector<std::string>& words);

// RUN -> RUN/queue/rank-*; a log folder stands for itself. data_error naming the command where there is no such folder.
std::vector<std::string> logs_of(const std::vector<std::string>& folders, const std::string& command);

}  // namespace nabla
