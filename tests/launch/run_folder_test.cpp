#include "launch/run_folder.h"

#include "common/files.h"
#include "common/json_file.h"
#include "launch/resume.h"
#include "launch/yaml_config.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/launch/working_folder.h"

#include <algorithm>

using namespace nabla;

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxBytes = 1 << 20;

RunConfig config_for(const std::string& run_dir) {
  RunConfig config;
  config.run.dir = run_dir;
  config.seed = 17;
  return config;
}

}  // namespace

TEST_CASE("a named run folder is taken exactly and says what was started") {
  const TemporaryFolder root;
  RunConfig config = config_for(root.file("deep/run"));
  const RunFolder folder = create_run_folder(config, {"nabla", "train", "run.name=a b", "it's"});
  CHECK(folder.path == root.file("deep/run"));
  CHECK(fs::is_directory(folder.file("logs")));
  CHECK(read_file(folder.file("command.txt"), kMaxBytes) == "nabla train 'run.name=a b' 'it'\\''s'\n");
  CHECK(load_config({.files = {folder.file("config.yaml")}, .assignments = {}}).seed == 17);
  const auto environment = read_json(folder.file("env.json"));
  for (const char* key : {"nabla", "torch", "host", "cores", "run_id"}) CHECK(environment.contains(key));
  CHECK(environment["run_id"] == folder.run_id);
  CHECK(open_run_folder(folder.path).run_id == folder.run_id);
}

TEST_CASE("a run folder is never used twice") {
  const TemporaryFolder root;
  RunConfig config = config_for(root.file("run"));
  create_run_folder(config, {"nabla"});
  const std::string before = read_file(root.file("run/env.json"), kMaxBytes);
  RunConfig again = config_for(root.file("run"));
  check_error(
      ExitCode::kUsage, [&] { create_run_folder(again, {"nabla"}); }, root.file("run"), "never overwrites", "nabla replay");
  CHECK(read_file(root.file("run/env.json"), kMaxBytes) == before);
}

TEST_CASE("a folder with other files is not taken, an empty one is") {
  const TemporaryFolder root;
  fs::create_directory(root.file("empty"));
  fs::create_directory(root.file("used"));
  write_file(root.file("used/notes.txt"), "mine");
  write_file(root.file("file"), "mine");
  RunConfig used = config_for(root.file("used")), empty = config_for(root.file("empty")), file = config_for(root.file("file"));
  check_error(
      ExitCode::kUsage, [&] { create_run_folder(used, {"nabla"}); }, "used");
  check_error(
      ExitCode::kUsage, [&] { create_run_folder(file, {"nabla"}); }, "is a file");
  CHECK_NOTHROW(create_run_folder(empty, {"nabla"}));
  CHECK_FALSE(fs::exists(root.file("used/config.yaml")));
}

TEST_CASE("without a name a run gets a folder of its own, and latest points at the newest that started") {
  const WorkingFolder working;
  RunConfig config = config_for("");
  config.run.name = "tiny";
  const RunFolder first = create_run_folder(config, {"nabla"}), second = create_run_folder(config, {"nabla"});
  CHECK(first.path != second.path);
  CHECK(fs::path(first.path).parent_path() == "runs/tiny");
  CHECK(fs::path(first.path).filename() == first.run_id);
  CHECK_FALSE(fs::exists(fs::symlink_status("runs/tiny/latest")));  // a run that fails before its start moves no link
  point_latest(first.path);
  point_latest(second.path);
  CHECK(fs::read_symlink("runs/tiny/latest") == fs::path(second.path).filename());
  CHECK(fs::equivalent("runs/tiny/latest/env.json", second.file("env.json")));
  const auto is_left_over = [](const auto& entry) { return entry.path().filename().string().starts_with(".latest"); };
  CHECK(std::none_of(fs::directory_iterator("runs/tiny"), fs::directory_iterator(), is_left_over));
}

TEST_CASE("a run that goes on by its link does so in its own folder, and the link stays") {
  const WorkingFolder working;
  RunConfig config;
  config.run.name = "tiny";
  const RunFolder run = create_run_folder(config, {"nabla"});
  fs::create_directories(run.file("checkpoints/update-000003"));
  point_latest(run.path);
  const std::string real = fs::canonical(run.path).string();
  const auto folder_of = [](const std::string& from, const std::vector<std::string>& assignments = {}) {
    ResumeOptions options;
    options.from = from;
    return config_to_run({.files = {}, .assignments = assignments}, options).run.dir;
  };
  CHECK(folder_of("runs/tiny/latest") == real);
  CHECK(folder_of("runs/tiny/latest/") == real);
  CHECK(folder_of("runs/tiny/latest/checkpoints/update-000003") == real);
  CHECK(folder_of("latest", {"run.name=tiny"}) == real);
  CHECK(folder_of("auto", {"run.dir=runs/tiny/latest"}) == real);
  CHECK(folder_of(run.path) == run.path);
  point_latest("runs/tiny/latest");
  CHECK(fs::canonical("runs/tiny/latest") == real);
}

TEST_CASE("a named run moves no link") {
  const TemporaryFolder root;
  RunConfig config = config_for(root.file("run"));
  create_run_folder(config, {"nabla"});
  point_latest(root.file("run"));
  CHECK_FALSE(fs::exists(fs::symlink_status(root.file("latest"))));
}

TEST_CASE("the folder of a run that never started is taken again, unless its maker lives") {
  const TemporaryFolder root;
  RunConfig config = config_for(root.file("run"));
  const RunFolder first = create_run_folder(config, {"nabla"});
  check_error(
      ExitCode::kUsage, [&] { create_run_folder(config, {"nabla"}); }, "already holds");  // made by this very process
  auto facts = read_json(first.file("env.json"));
  facts["birth"] = "1@another-boot";  // our number, which its maker had before us
  write_json(first.file("env.json"), facts);
  CHECK(create_run_folder(config, {"nabla"}).run_id != first.run_id);
  facts = read_json(first.file("env.json"));
  facts["pid"] = 0;
  write_json(first.file("env.json"), facts);
  write_file(first.file("status.json"), "{}");
  check_error(
      ExitCode::kUsage, [&] { create_run_folder(config, {"nabla"}); }, "already holds");
}

TEST_CASE("a configuration that somebody wrote into a folder is never written over") {
  const TemporaryFolder root;
  fs::create_directory(root.file("run"));
  write_file(root.file("run/config.yaml"), "seed: 5\n");
  RunConfig config = config_for(root.file("run"));
  check_error(
      ExitCode::kUsage, [&] { create_run_folder(config, {"nabla"}); }, "already holds files");
  CHECK(read_file(root.file("run/config.yaml"), kMaxBytes) == "seed: 5\n");
  CHECK_FALSE(fs::exists(root.file("run/env.json")));
}

TEST_CASE("a folder that cannot be made is named") {
  const TemporaryFolder root;
  write_file(root.file("file"), "");
  RunConfig config = config_for(root.file("file/run"));
  check_error(
      ExitCode::kFailure, [&] { create_run_folder(config, {"nabla"}); }, root.file("file/run"));
}

TEST_CASE("a folder without a run is refused") {
  const TemporaryFolder root;
  check_error(
      ExitCode::kUsage, [&] { open_run_folder(root.path()); }, root.path(), "config.yaml");
}
