#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace nabla {

// What the command line chose to run; filled by the chosen subcommand's callback. Returns the exit code; errors leave as nabla::Error.
struct Invocation {
  std::function<int()> run;
};

// Each adds one subcommand (options, help, two examples) to the application; one source file each under launch/commands/.
void add_actor_command(CLI::App& app, Invocation& invocation);
void add_checkpoint_now_command(CLI::App& app, Invocation& invocation);
void add_config_command(CLI::App& app, Invocation& invocation);
void add_convert_command(CLI::App& app, Invocation& invocation);
void add_doctor_command(CLI::App& app, Invocation& invocation);
void add_eval_command(CLI::App& app, Invocation& invocation);
void add_export_command(CLI::App& app, Invocation& invocation);
void add_inspect_command(CLI::App& app, Invocation& invocation);
void add_keys_command(CLI::App& app, Invocation& invocation);
void add_learner_command(CLI::App& app, Invocation& invocation);
void add_log_command(CLI::App& app, Invocation& invocation);
void add_pretrain_command(CLI::App& app, Invocation& invocation);
void add_probe_command(CLI::App& app, Invocation& invocation);
void add_relabel_command(CLI::App& app, Invocation& invocation);
void add_replay_command(CLI::App& app, Invocation& invocation);
void add_sample_command(CLI::App& app, Invocation& invocation);
void add_scale_command(CLI::App& app, Invocation& invocation);
void add_status_command(CLI::App& app, Invocation& invocation);
void add_stop_command(CLI::App& app, Invocation& invocation);
void add_train_command(CLI::App& app, Invocation& invocation);
void add_truth_command(CLI::App& app, Invocation& invocation);
void add_version_command(CLI::App& app, Invocation& invocation);

}  // namespace nabla
