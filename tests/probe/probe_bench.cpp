#include "tests/probe/probe_bench.h"

#include "common/diffusion/transition_kernel.h"
#include "common/error.h"
#include "common/files.h"
#include "common/json_file.h"
#include "launch/command.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include <unistd.h>

namespace nabla {

namespace {

namespace fs = std::filesystem;

// Sends standard output to a file while it lives.
class CapturedOutput {
 public:
  CapturedOutput() : saved_(dup(STDOUT_FILENO)) {
    std::fflush(stdout);
    std::FILE* file = std::fopen(path().c_str(), "w");
    dup2(fileno(file), STDOUT_FILENO);
    std::fclose(file);
  }
  ~CapturedOutput() {
    std::fflush(stdout);
    dup2(saved_, STDOUT_FILENO);
    close(saved_);
  }
  CapturedOutput(const CapturedOutput&) = delete;
  CapturedOutput& operator=(const CapturedOutput&) = delete;

  std::string text() const {
    std::fflush(stdout);
    return read_file(path(), std::size_t{1} << 20);
  }

 private:
  std::string path() const { return folder_.file("stdout"); }

  TemporaryFolder folder_;
  int saved_;
};

int run_words(std::vector<std::string> words, std::string& message) {
  CLI::App app("test", "nabla");
  Invocation invocation;
  add_probe_command(app, invocation);
  try {
    std::reverse(words.begin(), words.end());
    app.parse(std::move(words));
    return invocation.run();
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    message = error.what();
    return static_cast<int>(ExitCode::kUsage);
  } catch (const Error& error) {
    message = error.what();
    return static_cast<int>(error.code());
  }
}

}  // namespace

nlohmann::ordered_json ProbeOutcome::facts() const {
  REQUIRE(std::count(printed.begin(), printed.end(), '\n') == 1);
  const auto json = parse_json(printed, "standard output");
  REQUIRE(json.is_object());
  return json;
}

ProbeOutcome run_probe(std::vector<std::string> words) {
  words.insert(words.begin(), "probe");
  ProbeOutcome outcome;
  const CapturedOutput output;
  outcome.code = run_words(std::move(words), outcome.message);
  outcome.printed = output.text();
  return outcome;
}

ProbeBench::ProbeBench(const Networks& networks) {
  fs::create_directory(model());
  write_json(model() + "/model_index.json", {{"_class_name", "StableDiffusionPipeline"}});
  for (const auto& [component, network] : {std::pair{"unet", networks.unet},
                                           {"vae", networks.vae},
                                           {"text_encoder", networks.text_encoder},
                                           {"tokenizer", "pocket_tokenizer"}})
    fs::copy(parity_file(network), model() + "/" + component, fs::copy_options::recursive);
  fs::create_directory(model() + "/scheduler");
  set_scheduler(SchedulerConfig().to_json());
}

void ProbeBench::set_scheduler(const nlohmann::ordered_json& config) const {
  write_json(model() + "/scheduler/scheduler_config.json", config);
}

ProbeOutcome ProbeBench::run(const std::string& verb, std::vector<std::string> words) const {
  words.insert(words.begin(), {verb, "--in", file("in.safetensors"), "--out", file("out.safetensors")});
  return run_probe(std::move(words));
}

TensorMap ProbeBench::compute(const std::string& verb, const std::vector<std::string>& words) const {
  const ProbeOutcome outcome = run(verb, words);
  INFO(outcome.message);
  REQUIRE(outcome.code == 0);
  outcome.facts();
  return load_tensors(file("out.safetensors"));
}

TensorMap bundle_tensors(const std::string& bundle, const std::vector<std::string>& names) {
  const TensorMap all = load_tensors(parity_file(bundle));
  TensorMap chosen;
  for (const auto& name : names) chosen[name] = all.at(name);
  return chosen;
}

void check_mentions(const std::string& message, const std::vector<std::string>& parts) {
  for (const auto& part : parts) {
    INFO("message: ", message);
    INFO("expected: ", part);
    CHECK(message.find(part) != std::string::npos);
  }
}

}  // namespace nabla
