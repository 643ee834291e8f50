#include "launch/run_folder.h"
#include "tests/actors/tiny_model.h"
#include "tests/common/error_check.h"
#include "tests/diffusion/small_model.h"
#include "tests/launch/captured_run.h"

#include <nlohmann/json.hpp>

using namespace nabla;

namespace fs = std::filesystem;

namespace {

// A LoRA with values in both matrices and a scale that is not 1, as a file of the folder.
std::string write_lora(const std::string& path, const ModelFolder& model) {
  const auto unet = model.load_unet(at::kFloat);
  LoraAdapter adapter = LoraAdapter::create(*unet, {.rank = 2, .alpha = 3.0}, 5);
  TensorMap tensors;
  std::uint64_t index = 0;
  for (const auto& [name, tensor] : adapter.tensors()) tensors[name] = 0.3 * draw(tensor.sizes().vec(), index++);
  adapter.load(tensors);
  write_lora_diffusers(path, adapter);
  return path;
}

// The prediction of a model with a LoRA, or without one where `lora` is empty.
Tensor prediction(const ModelFolder& model, const std::string& lora, double scale = 1.0) {
  const at::NoGradGuard no_grad;
  const auto unet = model.load_unet(at::kFloat);
  if (!lora.empty()) LoraAdapter::attach(*unet, read_lora_file(lora, *unet), scale).set_mode(WeightMode::kMerged);
  return unet->forward(draw({1, 4, 8, 8}, 90), at::full({1}, 500, at::kLong), draw({1, 5, unet->config().cross_attention_dim}, 91));
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

}  // namespace

TEST_CASE("a LoRA file becomes one file for diffusers and one for ComfyUI and A1111") {
  const TinyModel model;
  const TemporaryFolder folder;
  const std::string lora = write_lora(folder.file("sunset.safetensors"), model.open()), out = folder.file("out");
  const CapturedRun run = run_nabla({"export", lora, "--model", model.path(), "--out", out + "/", "--lora-scale", "0.5"});
  CHECK(run.code == 0);
  CHECK(run.out.find("pytorch_lora_weights.safetensors (diffusers)") != std::string::npos);
  CHECK(names_in(out) == std::vector<std::string>{"pytorch_lora_weights.safetensors", "sunset_webui.safetensors"});
  const Tensor wanted = prediction(model.open(), lora, 0.5);
  CHECK(relative_error(prediction(model.open(), out + "/pytorch_lora_weights.safetensors"), wanted) < 1e-6);
  CHECK(relative_error(prediction(model.open(), out + "/sunset_webui.safetensors"), wanted) < 5e-3);  // stores halves
  CHECK(load_metadata(out + "/sunset_webui.safetensors").at("ss_output_name") == "sunset_webui");
}

TEST_CASE("a merged folder and a merged single file predict what the model with its LoRA predicts") {
  const TemporaryFolder folder;
  const ModelFolder base = small_model().folder();
  const std::string lora = write_lora(folder.file("lora.safetensors"), base), merged = folder.file("merged"),
                    single = folder.file("merged.safetensors");
  const Tensor wanted = prediction(base, lora);
  CHECK(run_nabla({"export", lora, "--model", base.path(), "--merge", "--out", merged}).code == 0);
  CHECK(run_nabla({"export", lora, "--model", base.path(), "--merge", "--out", single}).code == 0);
  SmallModel::write_tokenizer_beside(folder.path());
  CHECK(relative_error(wanted, prediction(base, "")) > 1e-2);
  CHECK(relative_error(prediction(ModelFolder::open(merged), ""), wanted) < 1e-6);
  CHECK(relative_error(prediction(ModelFolder::open(single), ""), wanted) < 1e-6);
  CHECK(ModelFolder::open(merged).digest() == ModelFolder::open(single).digest());
  CHECK(ModelFolder::open(merged).digest() != base.digest());
}

TEST_CASE("a merged model may be written in halves") {
  const TemporaryFolder folder;
  const ModelFolder base = small_model().folder();
  const std::string lora = write_lora(folder.file("lora.safetensors"), base), single = folder.file("half.safetensors");
  CHECK(run_nabla({"export", lora, "--model", base.path(), "--merge", "--dtype", "float16", "--out", single}).code == 0);
  for (const auto& [name, tensor] : load_tensors(single)) CHECK((!tensor.is_floating_point() || tensor.scalar_type() == at::kHalf));
}

TEST_CASE("a run is exported with its own base model, name and seed") {
  const TinyModel model;
  const TemporaryFolder folder;
  const std::string run = folder.file("run"), out = folder.file("out");
  RunConfig config = model.config();
  config.run.name = "sunset";
  fs::create_directories(run + "/export");
  write_file(run + "/config.yaml", config_text_of(config));
  write_json(run + "/summary.json", {{"updates", 7}});
  const std::string lora = write_lora(run + "/export/pytorch_lora_weights.safetensors", model.open());
  const CapturedRun exported = run_nabla({"export", run, "--out", out});
  INFO(exported.err);
  REQUIRE(exported.code == 0);
  CHECK(relative_error(prediction(model.open(), out + "/pytorch_lora_weights.safetensors"), prediction(model.open(), lora)) < 1e-5);
  const auto metadata = load_metadata(out + "/sunset_webui.safetensors");
  CHECK(metadata.at("ss_seed") == "3");
  CHECK(metadata.at("nabla_updates") == "7");
  CHECK(metadata.at("nabla_run") == "run");
}

TEST_CASE("exports that cannot be made are refused before anything is written") {
  const TinyModel model;
  const TemporaryFolder folder;
  const std::string lora = write_lora(folder.file("lora.safetensors"), model.open());
  fs::create_directory(folder.file("there"));
  const auto refuse = [&](std::vector<std::string> words, int code, const std::string& part) {
    words.insert(words.begin(), "export");
    const CapturedRun run = run_nabla(words);
    CHECK(run.code == code);
    CHECK_MESSAGE(run.err.find(part) != std::string::npos, run.err);
  };
  const std::string out = folder.file("out");
  refuse({lora, "--out", out}, 2, "--model");
  refuse({lora, "--model", model.path(), "--out", out + ".safetensors"}, 2, "--merge");
  refuse({lora, "--model", model.path(), "--out", out, "--dtype", "float16"}, 2, "--merge");
  refuse({lora, "--model", model.path(), "--out", folder.file("there")}, 2, "there already");
  refuse({folder.file("none"), "--model", model.path(), "--out", out}, 3, "none");
  refuse({folder.file("there"), "--out", out}, 3, "config.yaml");
  refuse({model.file("vae/diffusion_pytorch_model.safetensors"), "--model", model.path(), "--out", out}, 3, "no LoRA tensor");
  CHECK_FALSE(fs::exists(out));
}
