#include "launch/yaml_config.h"

#include "common/files.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"

using namespace nabla;

namespace {

RunConfig parsed(const std::string& yaml, const std::vector<std::string>& assignments = {}) {
  return parse_config_text(yaml, "run.yaml", assignments);
}

template <class... Parts>
void check_refused(const std::string& yaml, const Parts&... parts) {
  check_error(
      ExitCode::kUsage, [&] { parsed(yaml); }, parts...);
}

}  // namespace

TEST_CASE("an unknown key is answered with its place and the nearest key") {
  check_refused("seed: 1\ntraining:\n  batch_sise: 2\n", "run.yaml:3:3", "training.batch_sise", "training.batch_size");
  check_refused("# comment\n\nsamplings:\n  num_steps: 4\n", "run.yaml:4:3", "sampling.num_steps");
}

TEST_CASE("a value of the wrong type is answered with its place, key and value") {
  check_refused("training:\n  updates: many\n", "run.yaml:2:3", "training.updates", "many");
  check_refused("fleet:\n  lockstep: perhaps\n", "run.yaml:2:3", "fleet.lockstep", "perhaps");
}

TEST_CASE("the place of a fault inside a value is said once") {
  try {
    parsed("training:\n  lr:\n    - {a: 1}\n");
    FAIL_CHECK("no error was thrown");
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK(message.starts_with("run.yaml:3:7: "));
    CHECK(message.find("run.yaml") == message.rfind("run.yaml"));
  }
}

TEST_CASE("text that is no YAML is answered with its place") { check_refused("training: {lr: 1\nseed: [\n", "run.yaml:"); }

TEST_CASE("a configuration that is no mapping is refused") { check_refused("- a\n- b\n", "run.yaml:1:1", "mapping"); }

TEST_CASE("numbers may be written with an exponent, truths in both spellings") {
  const RunConfig config =
      parsed("training: {lr: 1e-4, updates: 1e2}\nmodel: {reward_scale: 1e4, no_flow: True}\nfleet: {lockstep: true}\n");
  CHECK(config.training.lr == 1e-4);
  CHECK(config.training.updates == 100);
  CHECK(config.model.reward_scale == 1e4);
  CHECK(config.model.no_flow);
  CHECK(config.fleet.lockstep);
  CHECK_FALSE(parsed("fleet: {lockstep: False}\n").fleet.lockstep);
}

TEST_CASE("lists are read in both styles of YAML") {
  const std::vector<std::int64_t> widths{8, 16};
  CHECK(parsed("model:\n  flow_channel_width: [8, 16]\n").model.flow_channel_width == widths);
  CHECK(parsed("model:\n  flow_channel_width:\n    - 8\n    - 16\n").model.flow_channel_width == widths);
}

TEST_CASE("a key given twice in one file is refused with the place of the second") {
  check_refused("seed: 1\nseed: 2\n", "run.yaml:2:1", "seed", "twice");
  check_refused("training:\n  lr: 1\n  lr: 2\n", "run.yaml:3:3", "training.lr", "twice");
}

TEST_CASE("an empty configuration is the default one") {
  CHECK(parsed("").seed == RunConfig{}.seed);
  CHECK(parsed("# nothing\n").training.updates == RunConfig{}.training.updates);
}

TEST_CASE("a later file wins, key by key") {
  const TemporaryFolder folder;
  write_file(folder.file("a.yaml"), "seed: 1\ntraining: {updates: 5, batch_size: 2}\n");
  write_file(folder.file("b.yaml"), "training: {updates: 6}\n");
  const RunConfig config = load_config({.files = {folder.file("a.yaml"), folder.file("b.yaml")}, .assignments = {}});
  CHECK(config.seed == 1);
  CHECK(config.training.updates == 6);
  CHECK(config.training.batch_size == 2);
}

TEST_CASE("assignments win over files, in their order and both spellings") {
  const TemporaryFolder folder;
  write_file(folder.file("a.yaml"), "seed: 1\n");
  CHECK(load_config({.files = {folder.file("a.yaml")}, .assignments = {"seed=2"}}).seed == 2);
  CHECK(load_config({.files = {folder.file("a.yaml")}, .assignments = {"seed=2", "--config.seed=3"}}).seed == 3);
  CHECK(load_config({.files = {}, .assignments = {"--config.training.lr=1e-5"}}).training.lr == 1e-5);
  check_error(
      ExitCode::kUsage, [] { load_config({.files = {}, .assignments = {"--config.training.lt=1"}}); }, "training.lt", "training.lr");
}

TEST_CASE("defaults include files beside the file, which wins over them") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.file("base"));
  write_file(folder.file("base/small.yaml"), "seed: 1\ntraining: {updates: 5}\n");
  write_file(folder.file("run.yaml"), "training: {updates: 7}\ndefaults: [base/small.yaml]\n");
  const RunConfig config = load_config({.files = {folder.file("run.yaml")}, .assignments = {}});
  CHECK(config.seed == 1);
  CHECK(config.training.updates == 7);
}

TEST_CASE("the place of a fault in an included file names that file") {
  const TemporaryFolder folder;
  write_file(folder.file("inner.yaml"), "sed: 1\n");
  write_file(folder.file("outer.yaml"), "defaults: inner.yaml\n");
  check_error(
      ExitCode::kUsage, [&] { load_config({.files = {folder.file("outer.yaml")}, .assignments = {}}); }, "inner.yaml:1:1", "seed");
}

TEST_CASE("files that include each other are refused") {
  const TemporaryFolder folder;
  write_file(folder.file("a.yaml"), "defaults: [b.yaml]\n");
  write_file(folder.file("b.yaml"), "defaults: [a.yaml]\n");
  check_error(
      ExitCode::kUsage, [&] { load_config({.files = {folder.file("a.yaml")}, .assignments = {}}); }, "circle");
}

TEST_CASE("a missing file is named") {
  check_error(
      ExitCode::kUsage, [] { load_config({.files = {"/no/such.yaml"}, .assignments = {}}); }, "/no/such.yaml");
}

TEST_CASE("the effective configuration reads back to itself") {
  RunConfig config;
  apply_assignment(fields_of(config), "training.lr=0.1");
  apply_assignment(fields_of(config), "run.name=it's: a \"test\" # 1");
  apply_assignment(fields_of(config), "model.flow_channel_width=[3, 4]");
  const std::string yaml = to_yaml(fields_of(config));
  RunConfig again = parsed(yaml);
  CHECK(to_yaml(fields_of(again)) == yaml);
  CHECK(again.run.name == config.run.name);
  CHECK(again.training.lr == 0.1);
}
