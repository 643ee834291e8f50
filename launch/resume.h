#pragma once

#include "launch/run_folder.h"
#include "launch/signals.h"
#include "launch/yaml_config.h"

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace nabla {

// What the command line says besides the option `resume`.
struct ResumeOptions {
  std::string from;      // the same as resume=...; empty: not said
  bool requeue = false;  // any stop by a signal asks to be started again
};
// --resume and --requeue.
void add_resume_options(CLI::App& command, ResumeOptions& options);

// The configuration of the run, before anything is made or looked at but files: of one that goes on without --config that of its folder, key=value on top.
RunConfig config_to_run(ConfigSources sources, const ResumeOptions& options);

// A run that is about to begin or to go on.
struct PreparedRun {
  RunFolder folder;
  RunConfig config;
  bool goes_on = false;
  std::string checkpoint = {};  // where it was named
};

// Makes a new run folder, or opens one to go on with, as `resume` says: never; auto (run.dir, if it holds a run that began); latest (the newest run of
// run.name, or run.dir); a run folder, or a checkpoint in one. A run that goes on without --config takes the configuration that it had, and key=value on top.
// usage_error where there is nothing to go on with, where the run is alive, or where options differ that decide the weights. `check` refuses more by
// throwing; nothing was made or changed by then.
PreparedRun prepare_run(const std::string& command, ConfigSources& sources, const ResumeOptions& options,
                        const std::function<void(const RunConfig&)>& check);

// Whether the one who stopped this process wants it to be started again.
bool wants_requeue(const StopSignals& signals, const ResumeOptions& options);
// Exit code of a run that ended well.
int exit_after(const StopSignals& signals, const ResumeOptions& options, bool stopped);

}  // namespace nabla
