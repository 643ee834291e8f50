#include "common/files.h"
#include "tests/probe/probe_bench.h"

using namespace nabla;

namespace {

const std::vector<std::string> kVerbs{"unet",      "flow", "text-encoder", "vae-encode", "vae-decode", "reward",
                                      "scheduler", "step", "tokenize",     "lora-merge", "terms",      "loss"};

// Inputs that unet takes, of the size of unet_one_layer.
TensorMap good_inputs() {
  return bundle_tensors("unet_one_layer/bundle.safetensors", {"sample", "timestep", "encoder_hidden_states", "cotangent"});
}

// The changed inputs are exit 3 with a message of these parts, and nothing is printed or written.
template <class Change>
void check_refused(Change change, const std::vector<std::string>& parts) {
  const ProbeBench bench;
  TensorMap input = good_inputs();
  change(input);
  bench.write_input(input);
  const ProbeOutcome outcome = bench.run("unet", {"--model", bench.model()});
  CHECK(outcome.code == 3);
  CHECK(outcome.printed.empty());
  CHECK_FALSE(std::filesystem::exists(bench.file("out.safetensors")));
  check_mentions(outcome.message, parts);
  check_mentions(outcome.message, {"in.safetensors"});
}

void check_usage(const ProbeBench& bench, const std::string& verb, const std::vector<std::string>& words,
                 const std::vector<std::string>& parts) {
  const ProbeOutcome outcome = bench.run(verb, words);
  CHECK(outcome.code == 2);
  CHECK(outcome.printed.empty());
  check_mentions(outcome.message, parts);
}

}  // namespace

TEST_CASE("a missing tensor is named with what was expected and what is there") {
  check_refused([](TensorMap& input) { input.erase("timestep"); },
                {"'timestep'", "missing", "int64", "[N] with N = 3", "encoder_hidden_states"});
  check_refused([](TensorMap& input) { input = {}; }, {"'sample'", "missing", "[N,C,h,w] with C = 4", "no tensor"});
}

TEST_CASE("an extra tensor is named with the inputs that there are") {
  check_refused(
      [](TensorMap& input) {
        input["noise"] = at::zeros({2, 5});
      },
      {"'noise'", "[2, 5]", "sample, timestep, encoder_hidden_states, cotangent"});
}

TEST_CASE("a badly shaped tensor is named with its shape and the one that was expected") {
  check_refused(
      [](TensorMap& input) {
        input["sample"] = at::zeros({3, 5, 6, 11});
      },
      {"'sample'", "[3, 5, 6, 11]", "[N,C,h,w] with C = 4"});
  check_refused([](TensorMap& input) { input["sample"] = at::zeros({4, 6, 11}); }, {"'sample'", "[4, 6, 11]", "[N,C,h,w] with C = 4"});
  check_refused([](TensorMap& input) { input["sample"] = at::zeros({0, 4, 6, 11}); }, {"'sample'", "[0, 4, 6, 11]"});
  check_refused([](TensorMap& input) { input["timestep"] = at::zeros({1}, at::kLong); }, {"'timestep'", "[1]", "[N] with N = 3"});
  check_refused(
      [](TensorMap& input) {
        input["encoder_hidden_states"] = at::zeros({3, 5, 8});
      },
      {"'encoder_hidden_states'", "[3, 5, 8]", "[N,L,D] with N = 3, D = 7"});
  check_refused(
      [](TensorMap& input) {
        input["cotangent"] = at::zeros({3, 4, 6, 10});
      },
      {"'cotangent'", "[3, 4, 6, 10]", "[N,4,h,w] with N = 3, h = 6, w = 11"});
}

TEST_CASE("a tensor of the wrong type is named with the type that was expected") {
  check_refused([](TensorMap& input) { input["timestep"] = at::zeros({3}); }, {"'timestep'", "[3]", "F32", "int64"});
  check_refused([](TensorMap& input) { input["timestep"] = at::zeros({3}, at::kInt); }, {"'timestep'", "I32", "int64"});
  check_refused([](TensorMap& input) { input["sample"] = at::zeros({3, 4, 6, 11}, at::kLong); }, {"'sample'", "I64", "floating-point"});
}

TEST_CASE("floating-point inputs may be of any floating-point type") {
  const ProbeBench bench;
  TensorMap input = good_inputs();
  for (auto& [name, tensor] : input) tensor = tensor.is_floating_point() ? tensor.to(at::kHalf) : tensor;
  bench.write_input(input);
  CHECK((bench.compute("unet", {"--model", bench.model()}).at("prediction").scalar_type() == at::kFloat));
}

TEST_CASE("ids outside the vocabulary and texts that are too long are refused") {
  const ProbeBench bench;
  const auto refuse = [&](const Tensor& ids, const std::vector<std::string>& parts) {
    bench.write_input({{"input_ids", ids}});
    const ProbeOutcome outcome = bench.run("text-encoder", {"--model", bench.model()});
    CHECK(outcome.code == 3);
    check_mentions(outcome.message, parts);
  };
  refuse(at::full({1, 3}, 1'000'000, at::kLong), {"'input_ids'", "1000000"});
  refuse(at::full({1, 3}, -1, at::kLong), {"'input_ids'", "-1"});
  refuse(at::zeros({1, 500}, at::kLong), {"'input_ids'", "[1, 500]", "[N,L]"});
}

TEST_CASE("pictures smaller than one latent and a cotangent of another size than the picture are refused") {
  const ProbeBench bench;
  bench.write_input({{"image", at::zeros({1, 3, 1, 8})}});
  CHECK(bench.run("vae-encode", {"--model", bench.model()}).code == 3);
  bench.write_input({{"latents", at::zeros({1, 3, 5, 7})}, {"cotangent", at::zeros({1, 3, 10, 13})}});
  const ProbeOutcome outcome = bench.run("vae-decode", {"--model", bench.model()});
  CHECK(outcome.code == 3);
  check_mentions(outcome.message, {"'cotangent'", "[1, 3, 10, 13]", "H = 10", "W = 14"});
}

TEST_CASE("an option of another verb, a missing one, an unknown verb, dtype or device and a bad thread count are usage errors") {
  const ProbeBench bench;
  bench.write_input(good_inputs());
  check_usage(bench, "unet", {"--model", bench.model(), "--reward", "mean-red"}, {"--reward"});
  check_usage(bench, "unet", {}, {"--model"});
  check_usage(bench, "truth", {}, {});
  check_usage(bench, "unet", {"--model", bench.model(), "--dtype", "float16"}, {"float16", "float32, float64 and bfloat16"});
  check_usage(bench, "unet", {"--model", bench.model(), "--device", "tpu"}, {"tpu", "cuda"});
  check_usage(bench, "unet", {"--model", bench.model(), "--threads", "0"}, {"0"});
  check_usage(bench, "reward", {"--reward", "mean-red", "--device", "cuda"}, {"cuda"});
}

TEST_CASE("missing files, a file that is no checkpoint and a missing flow network are exit 3") {
  const ProbeBench bench;
  const auto refuse = [&](const std::string& verb, const std::vector<std::string>& words, const std::vector<std::string>& parts) {
    const ProbeOutcome outcome = bench.run(verb, words);
    CHECK(outcome.code == 3);
    check_mentions(outcome.message, parts);
  };
  refuse("unet", {"--model", bench.model()}, {"in.safetensors"});
  bench.write_input(good_inputs());
  refuse("unet", {"--model", "/no/such/model"}, {"/no/such/model"});
  refuse("unet", {"--model", bench.file("in.safetensors")}, {"has no text_encoder", "folder"});
  refuse("unet", {"--model", bench.model(), "--lora", "/no/such/lora.safetensors"}, {"/no/such/lora.safetensors"});
  refuse("flow", {"--flow", "/no/such/flow"}, {"/no/such/flow", "config.json"});
  refuse("flow", {"--flow", bench.file("in.safetensors")}, {"config.json"});
}

TEST_CASE("every verb explains itself with two examples") {
  for (const auto& verb : kVerbs) {
    INFO(verb);
    const ProbeOutcome outcome = run_probe({verb, "--help"});
    CHECK(outcome.code == 0);
    const std::string example = "nabla probe " + verb + " ";
    const auto first = outcome.printed.find(example, outcome.printed.find("Examples:"));
    REQUIRE(first != std::string::npos);
    CHECK(outcome.printed.find(example, first + 1) != std::string::npos);
  }
  const ProbeOutcome all = run_probe({"--help"});
  CHECK(all.code == 0);
  check_mentions(all.printed, kVerbs);
}
