#include "actors/rewards/aesthetic.h"

#include "actors/rewards/reward_model.h"
#include "common/diffusion/model_folder.h"
#include "common/json_file.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/diffusion/parity_data.h"

#include <nlohmann/json.hpp>

#include <filesystem>

using namespace nabla;

namespace {

std::string scorer_folder(const std::string& name) { return parity_file("reward/" + name); }

std::unique_ptr<RewardModel> make_scorer(const std::string& folder, at::ScalarType dtype = at::kFloat) {
  return make_reward({.name = "aesthetic_score", .model = folder, .dtype = dtype});
}

void check_scorer(const std::string& name, at::ScalarType dtype, double score_error, double gradient_error) {
  INFO(name, " in ", std::string(c10::toString(dtype)));
  const TensorMap bundle = load_tensors(scorer_folder(name) + "/bundle.safetensors");
  const auto scorer = make_scorer(scorer_folder(name), dtype);
  const auto result = reward_gradient(*scorer, bundle.at("pictures").to(dtype), {"a", "b", "c"});
  REQUIRE(result.score.sizes() == bundle.at("scores").sizes());
  CHECK((result.score.scalar_type() == dtype));
  CHECK(relative_error(result.score, bundle.at("scores")) <= score_error);
  CHECK(relative_error(result.grad_image, bundle.at("gradient")) <= gradient_error);
}

// A copy of a scorer's folder whose tensors `change` may spoil.
template <class Change>
void copy_scorer(const std::string& folder, Change change) {
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file(scorer_folder("resized") + "/config.json", folder + "/config.json");
  TensorMap tensors = load_tensors(scorer_folder("resized") + "/model.safetensors");
  change(tensors);
  save_tensors(folder + "/model.safetensors", tensors);
}

}  // namespace

TEST_CASE("a scorer computes what transformers and the published head compute, forwards and backwards") {
  for (const char* name : {"resized", "own_size"}) {
    check_scorer(name, at::kFloat, 1e-5, 1e-4);
    check_scorer(name, at::kDouble, 1e-10, 1e-9);
  }
}

TEST_CASE("a scorer's parameters are frozen") {
  const auto network = load_aesthetic_network(scorer_folder("resized"), at::kFloat);
  for (const auto& [name, tensor] : named_tensors(*network)) {
    INFO(name);
    CHECK_FALSE(tensor.requires_grad());
  }
}

TEST_CASE("a scorer in bfloat16 takes float32 pictures and gives float32 scores near the exact ones") {
  const TensorMap bundle = load_tensors(scorer_folder("own_size") + "/bundle.safetensors");
  const auto scorer = make_scorer(scorer_folder("own_size"), at::kBFloat16);
  const Tensor scores = scorer->score(bundle.at("pictures").to(at::kFloat), {"", "", ""});
  CHECK((scores.scalar_type() == at::kFloat));
  CHECK((scores - bundle.at("scores").to(at::kFloat)).abs().max().item<double>() < 0.05);
}

TEST_CASE("a scorer's name says which weights, size and normalisation it has") {
  TemporaryFolder folder;
  copy_scorer(folder.file("other"), [](TensorMap& tensors) { tensors["layers.7.bias"] = tensors["layers.7.bias"] + 1.0; });
  const std::string spec = make_scorer(scorer_folder("resized"))->spec();
  CHECK(spec != make_scorer(folder.file("other"))->spec());
  CHECK(spec == make_scorer(scorer_folder("resized"))->spec());
  CHECK(spec.find("12x12 bicubic a=-0.75 without antialias, mean [0.48145466, 0.4578275, 0.40821073]") != std::string::npos);
}

TEST_CASE("a configuration survives its file, and a whole CLIPModel's is read from vision_config") {
  AestheticConfig config;
  config.vision.patch_size = 14;
  config.head_sizes = {5, 4, 3, 2, 1};
  config.image_mean = {0.1, 0.2, 0.3};
  CHECK(AestheticConfig::from_json(nlohmann::json(config.to_json()), "here").to_json() == config.to_json());
  const nlohmann::json whole{{"projection_dim", 768},
                             {"vision_config", {{"hidden_size", 1024}, {"num_attention_heads", 16}, {"patch_size", 14}}}};
  const AestheticConfig read = AestheticConfig::from_json(whole, "here");
  CHECK(read.vision.hidden_size == 1024);
  CHECK(read.vision.projection_dim == 768);
  CHECK(read.head_sizes.empty());
  const nlohmann::json patchless{{"vision_config", {{"image_size", 16}, {"patch_size", 32}}}};
  check_error(
      ExitCode::kData, [&] { AestheticConfig::from_json(patchless, "here"); }, "patch_size is 32", "1 to 16");
}

TEST_CASE("a scorer without its folder, with a missing or misshapen tensor or a zero deviation is refused by name") {
  TemporaryFolder folder;
  check_error(
      ExitCode::kData, [&] { make_scorer(folder.file("nowhere")); }, folder.file("nowhere"), "experiment.reward_model");
  copy_scorer(folder.file("headless"), [](TensorMap& tensors) { tensors.erase("layers.4.weight"); });
  check_error(
      ExitCode::kData, [&] { make_scorer(folder.file("headless")); }, "layers.4.weight");
  copy_scorer(folder.file("misshapen"), [](TensorMap& tensors) { tensors["visual_projection.weight"] = at::zeros({3, 12}); });
  check_error(
      ExitCode::kData, [&] { make_scorer(folder.file("misshapen")); }, "visual_projection.weight", "[3, 12]", "[10, 12]");
  check_error(
      ExitCode::kData,
      [] {
        AestheticConfig::from_json({{"image_std", {1.0, 0.0, 1.0}}}, "config.json");
      },
      "config.json", "image_std");
}
