#include "launch/live/find_run.h"

#include "common/error.h"
#include "common/nearest.h"
#include "launch/live/control_point.h"

#include <filesystem>
#include <vector>

namespace nabla {

namespace fs = std::filesystem;

namespace {

bool is_run(const fs::path& folder) { return fs::exists(folder / "config.yaml") && fs::exists(folder / "env.json"); }

// runs/<name>/<id>, and runs/<name> where run.dir was given; a link such as runs/<name>/latest is another name for one of them.
std::vector<std::string> runs_here() {
  std::vector<std::string> runs;
  std::error_code error;
  for (fs::recursive_directory_iterator entry("runs", error), end; !error && entry != end; entry.increment(error)) {
    if (!entry->is_directory() || entry->is_symlink()) continue;
    const bool found = is_run(entry->path());
    if (found) runs.push_back(entry->path().string());
    if (found || entry.depth() > 0) entry.disable_recursion_pending();
  }
  return runs;
}

bool is_alive(const std::string& run) {
  for (const char* role : {"learner", "train"}) {
    const auto point = read_control_point(run, role);
    if (point && may_be_alive(*point)) return true;
  }
  return false;
}

std::string named_run(const std::string& word) {
  if (!is_run(word)) throw usage_error("[run] '{}' is no run folder: it has no config.yaml and env.json", word);
  return word;
}

std::vector<std::string> live_runs() {
  std::vector<std::string> live;
  for (const auto& run : runs_here()) {
    if (is_alive(run)) live.push_back(run);
  }
  if (live.size() > 1) throw usage_error("[run] {} runs are alive; name one: {}", live.size(), comma_list(live));
  return live;
}

}  // namespace

std::string find_live_run(const std::string& word) {
  if (!word.empty()) return named_run(word);
  const auto live = live_runs();
  if (live.empty()) throw usage_error("[run] no run under runs/ is alive; name the folder of one that is elsewhere");
  return live.front();
}

std::string find_run(const std::string& word) {
  if (!word.empty()) return named_run(word);
  if (const auto live = live_runs(); !live.empty()) return live.front();
  std::string newest;
  fs::file_time_type newest_time{};
  for (const auto& run : runs_here()) {
    const auto time = fs::last_write_time(run + "/env.json");
    if (newest.empty() || time > newest_time) newest = run, newest_time = time;
  }
  if (newest.empty()) throw usage_error("[run] there is no run under runs/; name a run folder");
  return newest;
}

}  // namespace nabla
