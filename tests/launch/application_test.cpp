#include "tests/launch/captured_run.h"
#include "tests/testing.h"

#include <algorithm>
#include <sstream>

using namespace nabla;

namespace {

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// The names in the list of subcommands that a help text ends with.
std::vector<std::string> subcommands_of(const std::string& help) {
  std::vector<std::string> names;
  std::istringstream lines(help.substr(std::min(help.find("Subcommands:"), help.size())));
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line) && line.starts_with("  ")) {
    if (line[2] != ' ') names.push_back(line.substr(2, line.find(' ', 2) - 2));
  }
  return names;
}

void check_help(const std::vector<std::string>& command) {
  std::vector<std::string> arguments = command;
  arguments.emplace_back("--help");
  const CapturedRun run = run_nabla(arguments);
  const std::string name = command.empty() ? "nabla" : command.back();
  CHECK_MESSAGE(run.code == 0, name);
  CHECK_MESSAGE(holds(run.out, "Examples:\n  nabla "), name);
  CHECK_MESSAGE(run.err.empty(), name);
  const std::size_t examples = std::min(run.out.find("Examples:"), run.out.size());
  CHECK_MESSAGE(holds(run.out.substr(std::min(run.out.find("\n  nabla ", examples) + 1, run.out.size())), "\n  nabla "), name);
  for (const auto& subcommand : subcommands_of(run.out)) {
    std::vector<std::string> longer = command;
    longer.push_back(subcommand);
    check_help(longer);
  }
}

}  // namespace

TEST_CASE("every command explains itself with two examples") { check_help({}); }

TEST_CASE("the commands are all there") {
  const auto names = subcommands_of(run_nabla({"--help"}).out);
  for (const char* name : {"train", "learner", "actor", "replay", "relabel", "log", "sample", "config", "inspect", "convert", "doctor", "keys", "probe", "pretrain", "version"})
    CHECK_MESSAGE(std::find(names.begin(), names.end(), name) != names.end(), name);
}

TEST_CASE("an unknown command or option is a usage error") {
  const std::vector<std::vector<std::string>> wrong{{"tarin"},
                                                    {},
                                                    {"sample", "--modle", "x"},
                                                    {"inspect"},
                                                    {"convert", "one"},
                                                    {"version", "x"},
                                                    {"config"},
                                                    {"sample", "--steps", "many"},
                                                    {"actor"},
                                                    {"train", "--confg", "a.yaml"},
                                                    {"train", "seed"},
                                                    {"doctor", "--wrong"}};
  for (const auto& arguments : wrong) {
    const CapturedRun run = run_nabla(arguments);
    const std::string name = arguments.empty() ? "no command" : arguments.back();
    CHECK_MESSAGE(run.code == 2, name);
    CHECK_MESSAGE(!run.err.empty(), name);
  }
}

TEST_CASE("an unknown setting or option is a usage error that names the nearest") {
  const CapturedRun run = run_nabla({"config", "check", "trainig.lr=1"});
  CHECK(run.code == 2);
  CHECK(holds(run.err, "training.lr"));
  CHECK(holds(run_nabla({"config", "check", "--confg", "pocket"}).err, "did you mean '--config'?"));
  CHECK_FALSE(holds(run_nabla({"config", "check", "seed"}).err, "did you mean"));
}

TEST_CASE("an error is one line that says who speaks") {
  const CapturedRun run = run_nabla({"inspect", "/no/such/path"});
  CHECK(run.code == 3);
  CHECK(run.out.empty());
  CHECK(run.err.starts_with("nabla: "));
  CHECK(std::count(run.err.begin(), run.err.end(), '\n') == 1);
  CHECK(holds(run.err, "/no/such/path"));
}

TEST_CASE("the effective configuration can be printed and read back") {
  const TemporaryFolder folder;
  const CapturedRun first = run_nabla({"config", "print", "training.lr=1e-5", "--config.seed=9"});
  CHECK(first.code == 0);
  CHECK(holds(first.out, "lr: 1e-05"));
  CHECK(holds(first.out, "seed: 9"));
  write_file(folder.file("again.yaml"), first.out);
  CHECK(run_nabla({"config", "print", "--config", folder.file("again.yaml")}).out == first.out);
  CHECK(holds(run_nabla({"config", "diff", "--config", folder.file("again.yaml")}).out, "training.lr: 1e-05"));
  CHECK(run_nabla({"config", "check", "--config", folder.file("again.yaml")}).code == 0);
}

TEST_CASE("presets are listed and taken by name") {
  const CapturedRun list = run_nabla({"config", "presets"});
  CHECK(list.code == 0);
  for (const char* name : {"official ", "aesthetic ", "pocket "}) CHECK_MESSAGE(holds("\n" + list.out, std::string("\n") + name), name);
  CHECK(holds(run_nabla({"config", "print", "--config", "fast", "--config", "compat-official"}).out, "adam_steps_per_grad: 2"));
  CHECK(run_nabla({"config", "check", "--config", "fewer-gpus"}).code == 0);
}

TEST_CASE("a migrated configuration goes to the output alone, the notes to the errors") {
  const TemporaryFolder folder;
  write_file(folder.file("c.py"),
             "def get_config():\n  c = ConfigDict()\n  c.training = ConfigDict()\n  c.training.lr = 2e-4\n  c.odd = f(1)\n  return c\n");
  const CapturedRun run = run_nabla({"config", "migrate-from-python", folder.file("c.py"), "--config.training.flow_lr=1e-5", "--seed=4"});
  CHECK(run.code == 0);
  CHECK(holds(run.err, "c.py:5: c.odd"));
  write_file(folder.file("c.yaml"), run.out);
  const std::string diff = run_nabla({"config", "diff", "--config", folder.file("c.yaml")}).out;
  for (const char* line : {"training.lr: 0.0002", "training.flow_lr: 1e-05", "seed: 4"}) CHECK_MESSAGE(holds(diff, line), line);
  CHECK(run_nabla({"config", "migrate-from-python", folder.file("none.py")}).code == 3);
  CHECK(run_nabla({"config", "migrate-from-python"}).code == 2);
}

TEST_CASE("truth refuses options that the chosen work would not look at") {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"--quick", "--tier", "T2"}, {"--quick", "--seeds", "1,2"}, {"--pictures", "p", "--seeds", "1,2"},
        {"--pictures", "p", "--tier", "T2"}, {"--markdown", "m.json", "--case", "c.yaml"}, {"--markdown", "m.json", "--out", "o.safetensors"},
        {"--markdown", "m.json", "--pictures", "p"}}) {
    std::vector<std::string> arguments{"truth"};
    arguments.insert(arguments.end(), words.begin(), words.end());
    const CapturedRun run = run_nabla(arguments);
    INFO(words[0], " ", words[2]);
    CHECK(run.code == 2);
    CHECK(holds(run.err, words[0]));
    CHECK(holds(run.err, words[2].starts_with("--") ? words[2] : words[1]));
  }
}

TEST_CASE("version names what this binary is made of") {
  const CapturedRun run = run_nabla({"version"});
  CHECK(run.code == 0);
  for (const char* name : {"nabla ", "commit ", "torch ", "compiler ", "protocol "})
    CHECK_MESSAGE(holds("\n" + run.out, std::string("\n") + name), name);
}
