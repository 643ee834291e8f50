#include "protocol/keys.h"
#include "common/error.h"
#include "launch/command.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <ctime>
#include <memory>

namespace nabla {

namespace {

struct KeysCommand {
  std::string folder = "keys", name;
  bool json = false;
};

std::string age_of(std::int64_t created) {
  const std::int64_t seconds = std::max<std::int64_t>(0, std::time(nullptr) - created);
  if (seconds < 120) return fmt::format("{} s", seconds);
  if (seconds < 2 * 3600) return fmt::format("{} min", seconds / 60);
  if (seconds < 2 * 86400) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} days", seconds / 86400);
}

std::string state_of(const KeyEntry& entry) {
  if (!entry.fault.empty()) return "cannot be read";
  return entry.allowed ? entry.role == "server" ? "server" : "allowed" : "revoked";
}

int new_server(const KeysCommand& command) {
  make_server_keys(command.folder);
  fmt::print(
      "made the learner's keys in {0}; they stay on this machine\n"
      "start it with:           nabla learner ... security.keys={0} fleet.bind=tcp://0.0.0.0:5555 fleet.weights_port=5556\n"
      "for each other machine:  nabla keys new --dir {0} actor NAME\n",
      command.folder);
  return 0;
}

int new_actor(const KeysCommand& command) {
  make_actor_keys(command.folder, command.name);
  fmt::print(
      "made the keys of actor '{1}'; a running learner lets it in within a second\n"
      "carry the secret file:   scp -p {0}/actors/{1}.key THAT-MACHINE:\n"
      "start it there with:     nabla actor --connect tcp://THIS-MACHINE:5555 --key {1}.key\n",
      command.folder, command.name);
  return 0;
}

int revoke(const KeysCommand& command) {
  revoke_actor(command.folder, command.name);
  fmt::print("actor '{}' is no longer in the allow-list; a running learner turns it out within a second\n", command.name);
  return 0;
}

nlohmann::ordered_json json_of(const KeyEntry& entry) {
  return {{"name", entry.name},       {"role", entry.role},
          {"state", state_of(entry)}, {"fingerprint", entry.fingerprint},
          {"created", entry.created}, {"secret_here", entry.has_secret},
          {"fault", entry.fault}};
}

int list(const KeysCommand& command) {
  const auto entries = list_keys(command.folder);
  if (command.json) {
    auto all = nlohmann::ordered_json::array();
    for (const auto& entry : entries) all.push_back(json_of(entry));
    fmt::print("{}\n", all.dump(2));
    return 0;
  }
  std::size_t width = 4;
  for (const auto& entry : entries) width = std::max(width, entry.name.size());
  fmt::print("{:{}}  {:14}  {:11}  {:8}  {}\n", "name", width, "state", "fingerprint", "age", "secret file");
  for (const auto& entry : entries) {
    fmt::print("{:{}}  {:14}  {:11}  {:8}  {}\n", entry.name, width, state_of(entry), entry.fingerprint,
               entry.created > 0 ? age_of(entry.created) : "", entry.has_secret ? "here" : "");
  }
  return 0;
}

// Describes one verb; calls of `action` get what the command line said.
CLI::App* add_verb(CLI::App& group, Invocation& invocation, const std::shared_ptr<KeysCommand>& command, const char* name,
                   const char* about, int (*action)(const KeysCommand&), const char* examples) {
  CLI::App* verb = group.add_subcommand(name, about);
  verb->footer(examples);
  verb->callback([&invocation, command, action] { invocation.run = [command, action] { return action(*command); }; });
  return verb;
}

void add_folder_option(CLI::App& verb, const std::shared_ptr<KeysCommand>& command) {
  verb.add_option("--dir", command->folder, "Folder of the keys")->capture_default_str()->type_name("KEYS");
}

void add_name(CLI::App& verb, const std::shared_ptr<KeysCommand>& command) {
  verb.add_option("name", command->name, "Name of the actor's keys: one for each machine or owner, which several actors may share")
      ->required()
      ->type_name("NAME");
}

}  // namespace

void add_keys_command(CLI::App& app, Invocation& invocation) {
  const auto command = std::make_shared<KeysCommand>();
  CLI::App* keys = app.add_subcommand("keys", "Make, list and revoke the keys by which a learner and its actors know each other");
  keys->require_subcommand(1);
  keys->footer(
      "Secrets lie in files of mode 0600 and are never printed. docs/security.md tells what is protected against whom.\n"
      "Examples:\n  nabla keys new --dir KEYS server\n  nabla keys new --dir KEYS actor gpu-1\n  nabla keys list --dir KEYS\n"
      "  nabla keys revoke --dir KEYS gpu-1");
  CLI::App* make = keys->add_subcommand("new", "Make the keys of a learner or of an actor");
  make->require_subcommand(1);
  make->footer("Examples:\n  nabla keys new --dir KEYS server\n  nabla keys new --dir KEYS actor gpu-1");
  add_folder_option(*make, command);
  add_verb(*make, invocation, command, "server", "Make a learner's keys, an allow-list and the key of actors on the same machine",
           new_server, "Examples:\n  nabla keys new server\n  nabla keys new --dir KEYS server");
  add_name(*add_verb(*make, invocation, command, "actor", "Make an actor's keys, let it in, and write the file to carry to its machine",
                     new_actor, "Examples:\n  nabla keys new actor gpu-1\n  nabla keys new --dir KEYS actor gpu-1"),
           command);
  CLI::App* shown = add_verb(*keys, invocation, command, "list", "Show names, fingerprints and ages; never a secret", list,
                             "Examples:\n  nabla keys list --dir KEYS\n  nabla keys list --dir KEYS --json");
  add_folder_option(*shown, command);
  shown->add_flag("--json", command->json, "Print JSON");
  CLI::App* revoked = add_verb(*keys, invocation, command, "revoke", "Take an actor out of the allow-list; a running learner turns it out",
                               revoke, "Examples:\n  nabla keys revoke gpu-1\n  nabla keys revoke --dir KEYS gpu-1");
  add_folder_option(*revoked, command);
  add_name(*revoked, command);
}

}  // namespace nabla
