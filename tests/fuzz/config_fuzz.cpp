// Mutations of good configurations against the YAML reader and the settings of a command line.
#include "launch/yaml_config.h"
#include "tests/fuzz/fuzzing.h"

namespace nabla {

namespace {

FuzzOutcome parse(std::span<const std::byte> input) {
  const std::string text(reinterpret_cast<const char*>(input.data()), input.size());
  parse_config_text(text, "fuzzed.yaml", {});
  return FuzzOutcome::kAccepted;
}

FuzzOutcome parse_setting(std::span<const std::byte> input) {
  const std::string text(reinterpret_cast<const char*>(input.data()), input.size());
  parse_config_text("", "fuzzed.yaml", {text});
  return FuzzOutcome::kAccepted;
}

std::vector<FuzzTarget> targets() {
  constexpr int kUsage = 2;
  return {{"config",
           {"seed: 7\ntraining:\n  lr: 1e-3\n  batch_size: 8\nmodel: {reward_scale: 1e4, flow_channel_width: [64, 128]}\n",
            "run:\n  name: \"a \\\"b\\\" \\u00e9\"\nfleet: {lockstep: true, bind: 'tcp://127.0.0.1:*'}\nsecurity: {keys: keys}\n"},
           parse,
           kUsage,
           4096},
          {"setting",
           {"training.lr=1e-3", "model.flow_channel_width=[64, 128]", "--config.seed=7", "run.name=\"x\""},
           parse_setting,
           kUsage,
           4096}};
}

}  // namespace

}  // namespace nabla

int main(int argc, char** argv) { return nabla::fuzz_main(argc, argv, nabla::targets()); }
