#pragma once

#include <string>
#include <vector>

namespace nabla {

// Words of a command line, where CLI11 cannot tell folders from settings.
struct FoldersAndSettings {
  std::vector<std::string> folders, assignments;  // without and with '='
};
FoldersAndSettings split_words(const std::vector<std::string>& words);

// Where a run's logs are: RUN/queue, else the log.dir of RUN/config.yaml. Any other folder is itself, and so is a run that has no log yet.
std::string log_root(const std::string& folder);
// The rank-* folders of their log roots; a log folder stands for itself. data_error naming the command where there is no such folder.
std::vector<std::string> logs_of(const std::vector<std::string>& folders, const std::string& command);

}  // namespace nabla
