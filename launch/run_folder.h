#pragma once

#include "common/config/run_config.h"

#include <string>
#include <vector>

namespace nabla {

// RUN/: one folder a run, never used twice.
struct RunFolder {
  std::string path, run_id;
  std::string file(const std::string& name) const { return path + "/" + name; }
};

// Makes config.run.dir exactly, or runs/<name>/<time>-<short id>. Writes env.json, config.yaml and command.txt and makes logs/. usage_error if
// run.dir already holds anything; a run that never started counts as nothing.
RunFolder create_run_folder(RunConfig& config, const std::vector<std::string>& command_line);

// runs/<name>/latest -> this run, once it has started; replaced in one step so that readers never miss it. Nothing for a folder elsewhere.
void point_latest(const std::string& run_dir);

// Opens a folder that `create_run_folder` made.
RunFolder open_run_folder(const std::string& path);
// Whether a run in the folder began to train: then it can go on.
bool holds_begun_run(const std::string& path);
// A run folder whose run goes on, with this configuration and by this process from now on.
RunFolder reopen_run_folder(const RunConfig& config, const std::vector<std::string>& command_line);

// The effective configuration as YAML.
std::string config_text_of(RunConfig config);

}  // namespace nabla
