#include "common/diffusion/model_folder.h"
#include "common/json_file.h"
#include "tests/diffusion/small_model.h"
#include "tests/probe/probe_bench.h"

#include <filesystem>

using namespace nabla;

namespace {

// Relative L2 against diffusers and transformers in float64.
struct Precision {
  const char* dtype;
  double error;
};
constexpr Precision kPrecisions[] = {{"float32", 1e-5}, {"float64", 1e-10}};

const std::vector<std::string> kUnetInputs{"sample", "timestep", "encoder_hidden_states"};
constexpr const char* kLora = "lora/expected.safetensors";

using Names = std::vector<std::string>;

// The output holds exactly these tensors, in the type of outputs and near those of the bundle.
void check_outputs(const TensorMap& ours, const TensorMap& expected, const Precision& precision) {
  REQUIRE(ours.size() == expected.size());
  for (const auto& [name, tensor] : expected) {
    INFO(name, " in ", precision.dtype);
    REQUIRE(ours.contains(name));
    CHECK((ours.at(name).scalar_type() == (std::string(precision.dtype) == "float64" ? at::kDouble : at::kFloat)));
    REQUIRE(ours.at(name).sizes() == tensor.sizes());
    CHECK(relative_error(ours.at(name), tensor) <= precision.error);
  }
}

template <class Check>
void for_each_precision(Check check) {
  for (const auto& precision : kPrecisions) check(precision);
}

TensorMap with_cotangent(const std::string& bundle, Names names) {
  names.emplace_back("cotangent");
  return bundle_tensors(bundle, names);
}

}  // namespace

TEST_CASE("unet gives diffusers' prediction and, with a cotangent, its vector-Jacobian products") {
  for (const std::string network : {"unet_two_layers", "unet_one_layer", "unet_other_order"}) {
    INFO(network);
    const ProbeBench bench({.unet = network});
    const std::string bundle = network + "/bundle.safetensors";
    for_each_precision([&](const Precision& precision) {
      bench.write_input(bundle_tensors(bundle, kUnetInputs));
      check_outputs(bench.compute("unet", {"--model", bench.model(), "--dtype", precision.dtype}), bundle_tensors(bundle, {"prediction"}),
                    precision);
      bench.write_input(with_cotangent(bundle, kUnetInputs));
      check_outputs(bench.compute("unet", {"--model", bench.model(), "--dtype", precision.dtype}),
                    bundle_tensors(bundle, {"prediction", "grad_sample", "grad_encoder_hidden_states"}), precision);
    });
  }
}

TEST_CASE("unet in bfloat16 writes float32 near the exact prediction") {
  const ProbeBench bench;
  bench.write_input(bundle_tensors("unet_one_layer/bundle.safetensors", kUnetInputs));
  check_outputs(bench.compute("unet", {"--model", bench.model(), "--dtype", "bfloat16"}),
                bundle_tensors("unet_one_layer/bundle.safetensors", {"prediction"}), {"bfloat16", 0.05});
}

TEST_CASE("unet counts the parameters of its network") {
  const ProbeBench bench;
  bench.write_input(bundle_tensors("unet_one_layer/bundle.safetensors", kUnetInputs));
  std::int64_t parameters = 0;
  for (const auto& [name, tensor] : load_tensors(parity_file("unet_one_layer/diffusion_pytorch_model.safetensors")))
    parameters += tensor.numel();
  CHECK(bench.run("unet", {"--model", bench.model()}).facts().at("parameters") == parameters);
}

TEST_CASE("unet takes a LoRA of any dialect and scales it") {
  const ProbeBench bench({.unet = "lora/unet"});
  bench.write_input(bundle_tensors(kLora, kUnetInputs));
  const TensorMap expected = load_tensors(parity_file(kLora));
  const auto predict = [&](const std::string& dialect, const std::string& scale) {
    const std::string file = parity_file("lora/lora_" + dialect + ".safetensors");
    return bench.compute("unet", {"--model", bench.model(), "--lora", file, "--lora-scale", scale}).at("prediction").clone();
  };
  for (const char* dialect : {"p", "d", "o", "k"}) {
    INFO(dialect);
    CHECK(relative_error(predict(dialect, "1"), expected.at("adapted")) <= 1e-5);
  }
  CHECK(relative_error(predict("p", "0"), expected.at("base")) <= 1e-5);
  CHECK(relative_error(predict("p", "0.5"), expected.at("adapted")) > 1e-3);
}

TEST_CASE("lora-merge writes every merged weight under its diffusers name") {
  const ProbeBench bench({.unet = "lora/unet"});
  const std::string out = bench.file("out.safetensors");
  const Names words{"lora-merge", "--model", bench.model(), "--lora", parity_file("lora/lora_k.safetensors"), "--out", out};
  CHECK(run_probe(words).facts().at("merged") == 32);
  TensorMap expected;
  for (const auto& [name, tensor] : load_tensors(parity_file(kLora))) {
    if (name.starts_with("merged.")) expected[name.substr(std::string("merged.").size())] = tensor;
  }
  check_outputs(load_tensors(out), expected, {"float32", 1e-6});
}

TEST_CASE("flow reads a folder or a file with its configuration beside it and computes as the UNet does") {
  const ProbeBench bench;
  const std::string bundle = "unet_two_layers/bundle.safetensors", folder = parity_file("unet_two_layers");
  bench.write_input(with_cotangent(bundle, kUnetInputs));
  const TensorMap expected = bundle_tensors(bundle, {"prediction", "grad_sample", "grad_encoder_hidden_states"});
  for_each_precision([&](const Precision& precision) {
    check_outputs(bench.compute("flow", {"--flow", folder, "--dtype", precision.dtype}), expected, precision);
    check_outputs(bench.compute("flow", {"--flow", folder + "/diffusion_pytorch_model.safetensors", "--dtype", precision.dtype}), expected,
                  precision);
  });
}

TEST_CASE("flow refuses a network that is not of the model it is said to belong to") {
  const ProbeBench bench({.unet = "unet_two_layers"});
  bench.write_input(bundle_tensors("unet_two_layers/bundle.safetensors", kUnetInputs));
  bench.compute("flow", {"--flow", parity_file("unet_two_layers"), "--model", bench.model()});
  const ProbeOutcome outcome = bench.run("flow", {"--flow", parity_file("unet_one_layer"), "--model", bench.model()});
  CHECK(outcome.code == 3);
  check_mentions(outcome.message, {"unet_one_layer", "width 7", "width 10"});
}

TEST_CASE("flow is held against a model in a single file too") {
  const ProbeBench bench;
  const std::string model = bench.file("small.safetensors");
  save_tensors(model, small_model().single());
  UNetConfig config = SmallModel::unet_config();
  write_network<UNet2DConditionModel>(bench.file("own"), "diffusion_pytorch_model", config, 4);
  config.cross_attention_dim = 32;
  write_network<UNet2DConditionModel>(bench.file("other"), "diffusion_pytorch_model", config, 4);
  bench.write_input(
      {{"sample", at::ones({1, 4, 4, 4})}, {"timestep", at::full({1}, 7, at::kLong)}, {"encoder_hidden_states", at::ones({1, 3, 64})}});
  CHECK(bench.compute("flow", {"--flow", bench.file("own"), "--model", model}).at("prediction").sizes() == at::IntArrayRef{1, 4, 4, 4});
  const ProbeOutcome outcome = bench.run("flow", {"--flow", bench.file("other"), "--model", model});
  CHECK(outcome.code == 3);
  check_mentions(outcome.message, {"width 32", "width 64", "small.safetensors"});
}

TEST_CASE("text-encoder gives transformers' hidden states and pooled output") {
  for (const std::string network : {"text_quick_gelu", "text_gelu"}) {
    INFO(network);
    const ProbeBench bench({.text_encoder = network});
    bench.write_input(bundle_tensors(network + "/bundle.safetensors", {"input_ids"}));
    for_each_precision([&](const Precision& precision) {
      check_outputs(bench.compute("text-encoder", {"--model", bench.model(), "--dtype", precision.dtype}),
                    bundle_tensors(network + "/bundle.safetensors", {"last_hidden_state", "pooled"}), precision);
    });
  }
}

TEST_CASE("vae-encode gives diffusers' moments, before the scaling factor") {
  for (const std::string network : {"vae_two_layers", "vae_one_layer"}) {
    INFO(network);
    const ProbeBench bench({.vae = network});
    bench.write_input(bundle_tensors(network + "/bundle.safetensors", {"image"}));
    for_each_precision([&](const Precision& precision) {
      check_outputs(bench.compute("vae-encode", {"--model", bench.model(), "--dtype", precision.dtype}),
                    bundle_tensors(network + "/bundle.safetensors", {"mean", "logvar"}), precision);
    });
  }
}

TEST_CASE("vae-decode divides by the scaling factor, does not clamp, and gives the gradient to the scaled latents") {
  for (const std::string network : {"vae_two_layers", "vae_one_layer"}) {
    INFO(network);
    const ProbeBench bench({.vae = network});
    const TensorMap bundle = load_tensors(parity_file(network + "/bundle.safetensors"));
    const auto config = VaeConfig::from_json(nlohmann::json(read_json(parity_file(network) + "/config.json")), network);
    const TensorMap latents{{"latents", bundle.at("latents") * config.scaling_factor}};
    for_each_precision([&](const Precision& precision) {
      const Names words{"--model", bench.model(), "--dtype", precision.dtype};
      bench.write_input(latents);
      check_outputs(bench.compute("vae-decode", words), {{"image", bundle.at("decoded")}}, precision);
      bench.write_input({{"latents", latents.at("latents")}, {"cotangent", bundle.at("cotangent")}});
      check_outputs(bench.compute("vae-decode", words),
                    {{"image", bundle.at("decoded")}, {"grad_latents", bundle.at("grad_latents") / config.scaling_factor}}, precision);
    });
  }
}
