#include "launch/application.h"

#include "common/error.h"
#include "common/failpoint.h"
#include "common/nearest.h"
#include "launch/command.h"

#include <CLI/CLI.hpp>
#include <c10/util/Exception.h>

#include <cstdio>
#include <cstdlib>
#include <new>

namespace nabla {

namespace {

void add_commands(CLI::App& app, Invocation& invocation) {
  add_train_command(app, invocation);
  add_learner_command(app, invocation);
  add_actor_command(app, invocation);
  add_status_command(app, invocation);
  add_scale_command(app, invocation);
  add_checkpoint_now_command(app, invocation);
  add_stop_command(app, invocation);
  add_replay_command(app, invocation);
  add_relabel_command(app, invocation);
  add_log_command(app, invocation);
  add_sample_command(app, invocation);
  add_config_command(app, invocation);
  add_eval_command(app, invocation);
  add_inspect_command(app, invocation);
  add_convert_command(app, invocation);
  add_export_command(app, invocation);
  add_keys_command(app, invocation);
  add_doctor_command(app, invocation);
  add_probe_command(app, invocation);
  add_pretrain_command(app, invocation);
  add_truth_command(app, invocation);
  add_version_command(app, invocation);
}

// CLI11 answers a wrong command with "a subcommand is required". Walks down the words that stand for commands and names the first that is none.
void check_commands(CLI::App* here, int argc, char** argv) {
  std::string path = here->get_name();
  for (int i = 1; i < argc && argv[i][0] != '-'; ++i) {
    std::vector<std::string> names;
    CLI::App* next = nullptr;
    for (CLI::App* command : here->get_subcommands({})) {
      names.push_back(command->get_name());
      if (command->check_name(argv[i])) next = command;
    }
    if (names.empty()) return;
    if (next == nullptr) throw usage_error("'{}' has no command '{}'; did you mean '{}'? (there are: {})", path, argv[i], nearest(argv[i], names), comma_list(names));
    here = next;
    path += " " + here->get_name();
  }
}

int report(const char* message, ExitCode code) {
  std::fprintf(stderr, "nabla: %s\n", message);
  return static_cast<int>(code);
}

// The process's edge: the only place where an exception becomes an exit code.
int run_guarded(const Invocation& invocation) {
  try {
    if (const char* text = std::getenv("NABLA_FAILPOINT")) arm_failpoints(text, FailpointHost::kNabla);
    return invocation.run();
  } catch (const Error& error) {
    return report(error.what(), error.code());
  } catch (const c10::OutOfMemoryError& error) {
    return report(fmt::format("out of GPU memory; use smaller batches (training.batch_size, fleet.ticket_size, actors.decode_rows) or "
                              "actors.activation_checkpointing and learner.activation_checkpointing; `nabla doctor --memory` tells what a "
                              "configuration takes: {}", error.what_without_backtrace()).c_str(), ExitCode::kGpuMemory);
  } catch (const c10::Error& error) {
    return report(error.what_without_backtrace(), ExitCode::kFailure);
  } catch (const std::bad_alloc&) {
    return report("out of memory; use smaller batches (training.batch_size, fleet.ticket_size) or a machine with more", ExitCode::kFailure);
  } catch (const std::exception& error) {
    return report(error.what(), ExitCode::kFailure);
  }
}

}  // namespace

int run_application(int argc, char** argv) {
  CLI::App app("nabla fine-tunes text-to-image diffusion models towards a reward with residual nabla-DB, by actors and a learner.", "nabla");
  app.require_subcommand(1);
  app.footer("Examples:\n  nabla train --config configs/pocket.yaml\n  nabla sample --model assets/pocket --prompt \"a large red star\" --out pictures\n"
             "Exit codes: 0 ok, 1 failure, 2 usage or configuration, 3 model or data, 4 network, 5 GPU memory, 6 non-finite loss, 75 checkpointed and to be started again.");
  Invocation invocation;
  add_commands(app, invocation);
  try {
    check_commands(&app, argc, argv);
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    app.exit(error);
    return static_cast<int>(ExitCode::kUsage);
  } catch (const Error& error) {
    return report(error.what(), error.code());
  }
  return run_guarded(invocation);
}

}  // namespace nabla
