#include "launch/python_migration.h"
#include "common/files.h"
#include "launch/python_config.h"
#include "launch/yaml_config.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"

#include <cstdlib>
#include <filesystem>
#include <optional>

using namespace nabla;

namespace {

// A base file and one that builds on it, in the manner of the release's.
std::string write_project(const TemporaryFolder& folder, const std::string& body) {
  std::filesystem::create_directory(folder.file("config"));
  write_file(folder.file("config/base_config.py"), R"(from ml_collections import config_dict

def get_base():
    """Where every run starts."""
    config = config_dict.ConfigDict()
    t = config.training = config_dict.ConfigDict()
    t.lr = 2e-4  # lower
    t.batch_size = 2
    t.gradient_accumulation_steps = 4
    t.num_epochs = 10
    t.num_inner_epochs = 1
    t.mixed_precision = "fp32" if False else "bf16"
    model = config.model = config_dict.ConfigDict()
    model.flow_channel_width = (8, 16,
                                32)
    model.no_flow = False
    model.lora_rank = 16
    s = config.sampling = config_dict.ConfigDict()
    s.batch_size = 3
    s.num_batches_per_epoch = 8
    s.scheduler = 'DPM-solver'
    pretrained = config.pretrained = config_dict.ConfigDict()
    pretrained.model = "someone/some-model"
    pretrained.revision = "main"
    logging = config.logging = config_dict.ConfigDict()
    logging.wandb_key = 'hush'
    config.experiment = config_dict.ConfigDict()
    return config
)");
  write_file(folder.file("config/run.py"),
             "from config.base_config import get_base\n\ndef get_config():\n    config = get_base()\n" + body + "    return config");
  return folder.file("config/run.py");
}

// Takes the place of the machine's hub cache while it lives.
class HubCache {
 public:
  explicit HubCache(const std::string& folder) {
    if (const char* before = std::getenv(kName)) before_ = before;
    setenv(kName, folder.c_str(), 1);
  }
  ~HubCache() { before_ ? setenv(kName, before_->c_str(), 1) : unsetenv(kName); }
  HubCache(const HubCache&) = delete;
  HubCache& operator=(const HubCache&) = delete;

 private:
  static constexpr const char* kName = "HF_HUB_CACHE";
  std::optional<std::string> before_;
};

bool has_note(const Migration& migration, const std::vector<std::string>& parts) {
  for (const std::string& note : migration.notes) {
    bool all = true;
    for (const std::string& part : parts) all = all && note.find(part) != std::string::npos;
    if (all) return true;
  }
  return false;
}

std::string value_of(const PythonConfig& config, const std::string& path) {
  for (const PythonSetting& setting : config.settings) {
    if (setting.path == path) return setting.value;
  }
  return "(not set)";
}

PythonConfig read_text(const std::string& text) {
  const TemporaryFolder folder;
  write_file(folder.file("c.py"), text);
  return read_python_config(folder.file("c.py"));
}

}  // namespace

TEST_CASE("a file that builds on another becomes YAML that reads back") {
  const TemporaryFolder folder;
  const std::string file =
      write_project(folder, "    config.model.reward_scale = 1.e4\n    config.experiment.reward_fn = \"aesthetic_score\"\n");
  const Migration migration = migrate_python_config(file, {});
  const RunConfig config = parse_config_text(migration.yaml, "migrated.yaml", {});
  CHECK(config.training.lr == 2e-4);
  CHECK(config.slots_per_update() == 8);
  CHECK(config.training.updates == 30);  // 10 epochs of 3 x 8 trajectories, 8 an update
  CHECK(config.fleet.ticket_size == 2);  // 3 does not divide 8
  CHECK(config.model.reward_scale == 1e4);
  CHECK(config.model.flow_channel_width == std::vector<std::int64_t>{8, 16, 32});
  CHECK(config.model.lora_alpha == 16);
  CHECK(config.sampling.scheduler == "sde-dpm-solver++");
  CHECK(config.pretrained.model == "models/some-model");
  require_consistent(config);
}

TEST_CASE("what changed, was dropped or passed over is listed with its place, and secrets are not") {
  const TemporaryFolder folder;
  const Migration migration = migrate_python_config(write_project(folder, "    config.model.strange = 1\n"), {});
  CHECK(has_note(migration, {"changed", "base_config.py:21", "sampling.scheduler", "sde-dpm-solver++"}));
  CHECK(has_note(migration, {"dropped", "base_config.py:24", "pretrained.revision"}));
  CHECK(has_note(migration, {"dropped", "logging.wandb_key"}));
  CHECK(has_note(migration, {"skipped", "base_config.py:12", "t.mixed_precision", "not a literal"}));
  CHECK(has_note(migration, {"skipped", "run.py:5", "model.strange"}));
  CHECK(has_note(migration, {"fleet.ticket_size"}));
  for (const std::string& note : migration.notes) CHECK(note.find("hush") == std::string::npos);
  CHECK(migration.yaml.find("hush") == std::string::npos);
}

TEST_CASE("the command line's settings win over the file") {
  const TemporaryFolder folder;
  const Migration migration = migrate_python_config(
      write_project(folder, ""),
      {"--config.training.num_epochs=400", "--config.model.no_flow=True", "--seed=5", "--exp_name=mine", "sampling.eta=1"});
  const RunConfig config = parse_config_text(migration.yaml, "migrated.yaml", {});
  CHECK(config.training.updates == 1200);
  CHECK(config.model.no_flow);
  CHECK(config.model.reverse_loss_scale == 0);
  CHECK(config.seed == 5);
  CHECK(config.run.name == "mine");
}

TEST_CASE("a model's name is kept where the hub cache has it") {
  const TemporaryFolder folder;
  const HubCache cache(folder.file("hub"));
  std::filesystem::create_directories(folder.file("hub/models--someone--some-model/snapshots"));
  const auto model_of = [](const Migration& migration) { return parse_config_text(migration.yaml, "migrated.yaml", {}).pretrained.model; };
  const std::string file = write_project(folder, "");
  CHECK(model_of(migrate_python_config(file, {})) == "someone/some-model");
  const Migration other = migrate_python_config(file, {"--config.pretrained.model=someone/other"});
  CHECK(model_of(other) == "models/other");
  CHECK(has_note(other, {"changed", "pretrained.model", "models--someone--other", "models/other"}));
}

TEST_CASE("a base file that is not there stands for the official defaults") {
  const TemporaryFolder folder;
  const HubCache none(folder.file("hub"));
  write_file(folder.file("a.py"),
             "from config.default_config import get_default_configs\ndef get_config():\n    c = get_default_configs()\n    return c\n");
  const Migration migration = migrate_python_config(folder.file("a.py"), {});
  CHECK(has_note(migration, {"skipped", "config.default_config", "official defaults"}));
  const RunConfig config = parse_config_text(migration.yaml, "migrated.yaml", {});
  CHECK(config.training.updates == 200);
  CHECK(config.fleet.ticket_size == 16);
  CHECK(config.pretrained.model == "models/stable-diffusion-v1-5");
}

TEST_CASE("counts that are none are noted, and the rest is migrated") {
  const TemporaryFolder folder;
  const std::string file = write_project(folder, "    config.training.num_epochs = None\n    config.sampling.batch_size = [4, 8]\n");
  const Migration migration = migrate_python_config(file, {});
  CHECK(has_note(migration, {"skipped", "training.num_epochs", "100 is taken"}));
  CHECK(has_note(migration, {"skipped", "sampling.batch_size", "[4, 8]", "16 is taken"}));
  CHECK(parse_config_text(migration.yaml, "migrated.yaml", {}).training.lr == 2e-4);
}

TEST_CASE("an update without trajectories is named, not divided by") {
  const TemporaryFolder folder;
  const std::string file = write_project(folder, "");
  CHECK(has_note(migrate_python_config(file, {"--config.training.batch_size=0"}), {"refused", "training.batch_size"}));
}

TEST_CASE("a file that names no model gets the release's, not the pocket model") {
  const TemporaryFolder folder;
  write_file(folder.file("bare.py"),
             "from ml_collections import config_dict\ndef get_config():\n    config = config_dict.ConfigDict()\n    config.training = "
             "config_dict.ConfigDict()\n    config.training.lr = 1e-3\n    return config\n");
  const Migration migration = migrate_python_config(folder.file("bare.py"), {});
  CHECK(parse_config_text(migration.yaml, "migrated.yaml", {}).pretrained.model == "models/stable-diffusion-v1-5");
  CHECK(has_note(migration, {"missing", "pretrained.model"}));
}

TEST_CASE("assignments are followed through names, groups and brackets") {
  const PythonConfig config = read_text(R"(import ml_collections
RATE = 1_000
def get_config():
    config = ml_collections.ConfigDict()
    config.a = inner = ml_collections.ConfigDict()
    inner["b"] = RATE
    inner.c = inner.b
    inner.text = 'it' "'s"  # two parts
    inner.list = [
        1,  # one
        -2.5,
    ]
    with config.unlocked():
        config.d = None
    inner.none = {}
    config.a.b = 5; config.e = 6
    inner.group = (1e-3)
    inner.words = ('one '
                   'two')
    inner.tuple = (64,)
    return config
)");
  CHECK(value_of(config, "a.c") == "1000");
  CHECK(value_of(config, "a.text") == "it's");
  CHECK(value_of(config, "a.list") == "[1, -2.5]");
  CHECK(value_of(config, "a.none") == "{}");
  CHECK(value_of(config, "d").empty());
  CHECK(value_of(config, "a.b") == "5");
  CHECK(value_of(config, "e") == "6");
  CHECK(value_of(config, "a.group") == "1e-3");
  CHECK(value_of(config, "a.words") == "one two");
  CHECK(value_of(config, "a.tuple") == "[64]");
}

TEST_CASE("what cannot be followed is passed over with its place, and never executed") {
  const TemporaryFolder folder;
  const std::string witness = folder.file("witness");
  const PythonConfig config = read_text("import os\nopen('" + witness + R"(', 'w').write('x')
def get_config():
    config = ConfigDict()
    os.system('touch )" + witness + R"(')
    config.x = 1 + 2
    config.y += 1
    if config.x:
        config.z = 1
    else:
        config.z = 2
    for i in range(3):
        config.w = i
    config.update(dict(v=1))
    config.q.r = 1
    config.ok = 1
    return config
)");
  CHECK_FALSE(std::filesystem::exists(witness));
  REQUIRE(config.settings.size() == 1);
  CHECK(config.settings[0].path == "ok");
  CHECK(config.skipped.size() == 8);
  CHECK(config.skipped[0].find("c.py:2: ") != std::string::npos);
  CHECK(config.skipped[4].find("c.py:8: if config.x") != std::string::npos);
}

TEST_CASE("files that are no configuration are refused") {
  check_error(
      ExitCode::kData, [] { read_text("x = 1\n"); }, "c.py", "get_config()");
  check_error(
      ExitCode::kData, [] { read_text("def get_config():\n    return 5\n"); }, "no group");
  check_error(
      ExitCode::kData, [] { read_text("def get_config():\n    return f(1\n"); }, "c.py:2", "bracket");
  check_error(
      ExitCode::kData, [] { read_text("x = 1\ny = 2)\n"); }, "c.py:2", "never open");
  check_error(
      ExitCode::kData, [] { read_text("a = 'b\n"); }, "c.py:1", "does not end");
  check_error(
      ExitCode::kData, [] { read_text("def get_config():\n    return get_config()\n"); }, "returns nothing");
  check_error(
      ExitCode::kData, [] { read_python_config("/no/such.py"); }, "/no/such.py");
}
