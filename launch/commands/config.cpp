#include "common/error.h"
#include "launch/command.h"
#include "launch/commands/config_options.h"
#include "launch/presets.h"
#include "launch/python_migration.h"

#include <CLI/CLI.hpp>

#include <cstdio>

namespace nabla {

namespace {

RunConfig sources_to_config(const CLI::App& command, ConfigSources& sources) {
  sources.assignments = assignments_of(command);
  return load_config(sources);
}

int print_config(const CLI::App& command, ConfigSources& sources) {
  RunConfig config = sources_to_config(command, sources);
  std::fputs(to_yaml(fields_of(config)).c_str(), stdout);
  return 0;
}

int check_config(const CLI::App& command, ConfigSources& sources) {
  validate(sources_to_config(command, sources));
  std::puts("the configuration is valid");
  return 0;
}

// Settings whose value is not the default.
int diff_config(const CLI::App& command, ConfigSources& sources) {
  RunConfig config = sources_to_config(command, sources);
  for (const auto& field : fields_of(config)) {
    if (field.get() != field.default_text) fmt::print("{}: {}  # default {}\n", field.path, field.get(), field.default_text);
  }
  return 0;
}

int print_schema() {
  RunConfig config;
  std::fputs(to_json_schema(fields_of(config), "nabla run configuration").c_str(), stdout);
  return 0;
}

int print_presets() {
  for (const Preset& preset : presets()) fmt::print("{:<17} {}\n", preset.name, preset_summary(preset));
  return 0;
}

int migrate_from_python(const CLI::App& command, const std::string& file) {
  const Migration migration = migrate_python_config(file, assignments_of(command));
  std::fputs(migration.yaml.c_str(), stdout);
  for (const std::string& note : migration.notes) fmt::print(stderr, "{}\n", note);
  return 0;
}

void add_migration_command(CLI::App& command, Invocation& invocation) {
  auto* verb = command.add_subcommand(
      "migrate-from-python",
      "Turn a configuration file of the official release into YAML; what was changed or dropped goes to standard error");
  auto file = std::make_shared<std::string>();
  verb->add_option("file", *file, "Python file; it is read, never executed")->required()->type_name("FILE");
  verb->allow_extras();
  verb->footer(
      "Examples:\n  nabla config migrate-from-python config/aesthetic.py > aesthetic.yaml\n"
      "  nabla config migrate-from-python config/aesthetic.py --config.model.reward_scale=1e4 --seed=0 > aesthetic.yaml");
  verb->callback([&invocation, verb, file] { invocation.run = [verb, file] { return migrate_from_python(*verb, *file); }; });
}

}  // namespace

void add_config_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("config", "Print, check or explain a run's configuration");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n  nabla config print --config configs/pocket.yaml training.lr=1e-4\n  nabla config check --config configs/pocket.yaml");
  const auto add = [&](const char* name, const char* help, auto action) {
    auto* verb = command->add_subcommand(name, help);
    const auto sources = add_config_options(*verb);
    verb->footer(fmt::format(
        "Examples:\n  nabla config {0} --config configs/pocket.yaml\n  nabla config {0} --config configs/pocket.yaml seed=2", name));
    verb->callback([&invocation, verb, sources, action] { invocation.run = [verb, sources, action] { return action(*verb, *sources); }; });
  };
  add("print", "Print the effective configuration as YAML, each setting explained", print_config);
  add("check", "Check a configuration without starting anything", check_config);
  add("diff", "Print the settings that differ from the defaults", diff_config);
  auto* schema = command->add_subcommand("schema", "Print the JSON schema of the configuration");
  schema->footer("Examples:\n  nabla config schema\n  nabla config schema > nabla.schema.json");
  schema->callback([&invocation] { invocation.run = print_schema; });
  auto* list = command->add_subcommand("presets", "List the named configurations that --config takes beside files");
  list->footer("Examples:\n  nabla config presets\n  nabla config print --config official");
  list->callback([&invocation] { invocation.run = print_presets; });
  add_migration_command(*command, invocation);
}

}  // namespace nabla
