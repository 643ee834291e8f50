#include "launch/run_folder.h"

#include "common/error.h"
#include "common/files.h"
#include "common/json_file.h"
#include "launch/machine.h"
#include "launch/process_identity.h"
#include "launch/version.h"

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <filesystem>
#include <thread>

namespace nabla {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxCommands = 1 << 20;

// Quoted where a shell would split or expand the word.
std::string shell_word(const std::string& word) {
  if (!word.empty() && word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+@%") == std::string::npos) return word;
  std::string quoted = "'";
  for (const char letter : word) quoted += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
  return quoted + "'";
}

std::string text_of(const std::vector<std::string>& command_line) {
  std::string line;
  for (const auto& word : command_line) line.append(line.empty() ? "" : " ").append(shell_word(word));
  return line + "\n";
}

void write_environment(const RunFolder& folder) {
  nlohmann::ordered_json json;
  for (const auto& [name, value] : version_facts()) json[name] = value;
  json["host"] = name_of_this_machine();
  json["cores"] = std::thread::hardware_concurrency();
  json["run_id"] = folder.run_id;
  json["pid"] = getpid();
  json["birth"] = birth_of(getpid());
  write_json(folder.file("env.json"), json);
}

bool maker_is_alive(const std::string& path) {
  const auto facts = read_json(path + "/env.json");
  return facts.value("host", std::string()) != name_of_this_machine() ||
         is_same_process(facts.value("pid", std::int64_t{0}), facts.value("birth", std::string()));
}

// What has no env.json was not made by a run: somebody wrote that configuration by hand.
bool is_run_folder(const std::string& path) { return fs::exists(path + "/config.yaml") && fs::exists(path + "/env.json"); }

bool left_a_trace(const std::string& path) {
  for (const char* trace : {"/queue", "/checkpoints", "/summary.json", "/status.json"}) {
    if (fs::exists(path + trace)) return true;
  }
  return false;
}

// A run that failed before it trained anything left its configuration and logs, but nothing that anybody could miss.
bool never_started(const std::string& path) { return !left_a_trace(path) && is_run_folder(path) && !maker_is_alive(path); }

void refuse_used(const std::string& path) {
  if (!fs::exists(path)) return;
  if (!fs::is_directory(path)) throw usage_error("[run] run.dir '{}' is a file; name a folder that does not exist yet", path);
  if (fs::is_empty(path) || never_started(path)) return;
  throw usage_error("[run] run.dir '{}' already holds files{}; a run never overwrites another: go on with it (resume=auto), choose another folder, or `nabla replay {}` to train "
                    "from its queue", path, fs::exists(path + "/config.yaml") ? " of a run" : "", path);
}

}  // namespace

std::string config_text_of(RunConfig config) { return to_yaml(fields_of(config)); }

RunFolder create_run_folder(RunConfig& config, const std::vector<std::string>& command_line) {
  const bool named = !config.run.dir.empty();
  RunFolder folder{.path = config.run.dir, .run_id = make_run_id()};
  if (!named) folder.path = (fs::path("runs") / config.run.name / folder.run_id).string();
  refuse_used(folder.path);
  std::error_code error;
  fs::create_directories(folder.file("logs"), error);
  if (error) throw failure("[run] cannot make the run folder '{}': {}", folder.path, error.message());
  write_environment(folder);  // first: whoever finds the configuration finds its maker too
  write_file(folder.file("config.yaml"), config_text_of(config));
  write_file(folder.file("command.txt"), text_of(command_line));
  return folder;
}

void point_latest(const std::string& run_dir) {
  const fs::path run(run_dir), link = run.parent_path() / "latest", fresh = run.parent_path() / (".latest." + std::to_string(getpid()));
  if (run.parent_path().parent_path() != "runs" || run == link) return;
  std::error_code ignored;
  fs::remove(fresh, ignored);
  fs::create_directory_symlink(run.filename(), fresh, ignored);
  if (!ignored) fs::rename(fresh, link, ignored);
}

RunFolder open_run_folder(const std::string& path) {
  if (!fs::exists(path + "/config.yaml")) throw usage_error("[run] '{}' is no run folder: it has no config.yaml", path);
  return {.path = path, .run_id = read_json(path + "/env.json").at("run_id").get<std::string>()};
}

bool holds_begun_run(const std::string& path) {
  return is_run_folder(path) && left_a_trace(path);
}

RunFolder reopen_run_folder(const RunConfig& config, const std::vector<std::string>& command_line) {
  const RunFolder folder = open_run_folder(config.run.dir);
  std::error_code ignored;
  fs::remove(folder.file("endpoints.json"), ignored);  // of a learner that was killed: actors are to wait for the new one
  write_environment(folder);
  write_file(folder.file("config.yaml"), config_text_of(config));
  const std::string before = fs::exists(folder.file("command.txt")) ? read_file(folder.file("command.txt"), kMaxCommands) : "";
  write_file(folder.file("command.txt"), before + text_of(command_line));
  return folder;
}

}  // namespace nabla
