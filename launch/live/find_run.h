#pragma once

#include <string>

namespace nabla {

// The run folder that a command means by `word`. An empty word means the one run under runs/ that is alive; usage_error, with what there is, if there is
// none or more than one. usage_error for a word that names no run folder.
std::string find_live_run(const std::string& word);
// The same, but with none alive the newest run under runs/.
std::string find_run(const std::string& word);

}  // namespace nabla
