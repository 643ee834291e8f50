#include "common/diffusion/lora.h"
#include "common/diffusion/model_folder.h"
#include "common/diffusion/stable_diffusion_v1.h"
#include "common/json_file.h"
#include "tests/diffusion/parity_data.h"

#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>

using namespace nabla;

namespace {

constexpr const char* kDiffusersFile = "diffusion_pytorch_model";
constexpr const char* kTransformersFile = "model";

// Relative L2 against diffusers and transformers in float64.
struct Precision {
  at::ScalarType dtype;
  double output_error, gradient_error;
};
constexpr Precision kPrecisions[] = {{at::kFloat, 1e-5, 1e-4}, {at::kDouble, 1e-10, 1e-9}};

template <class Model, class Config>
std::shared_ptr<Model> load_parity_model(const std::string& name, const char* base_name, at::ScalarType dtype) {
  const std::string folder = parity_file(name);
  auto model = std::make_shared<Model>(Config::from_json(nlohmann::json(read_json(folder + "/config.json")), folder));
  model->to(dtype);
  load_parameters(*model, load_component_tensors(folder, base_name), folder);
  return model;
}

TensorMap load_bundle(const std::string& name, at::ScalarType dtype) {
  TensorMap bundle = load_tensors(parity_file(name + "/bundle.safetensors"));
  for (auto& [key, tensor] : bundle) tensor = tensor.is_floating_point() ? tensor.to(dtype) : tensor;
  return bundle;
}

Tensor differentiable(const Tensor& tensor) { return tensor.clone().requires_grad_(true); }

void check_close(const char* what, const Tensor& ours, const Tensor& theirs, double tolerance) {
  INFO(what);
  REQUIRE(ours.sizes() == theirs.sizes());
  CHECK(relative_error(ours, theirs) <= tolerance);
}

void check_unet(const std::string& name, const Precision& precision) {
  auto bundle = load_bundle(name, precision.dtype);
  auto unet = load_parity_model<UNet2DConditionModel, UNetConfig>(name, kDiffusersFile, precision.dtype);
  const Tensor sample = differentiable(bundle["sample"]), context = differentiable(bundle["encoder_hidden_states"]);
  const Tensor prediction = unet->forward(sample, bundle["timestep"], context);
  const auto gradients = torch::autograd::grad({prediction}, {sample, context}, {bundle["cotangent"]});
  check_close("prediction", prediction, bundle["prediction"], precision.output_error);
  check_close("grad_sample", gradients[0], bundle["grad_sample"], precision.gradient_error);
  check_close("grad_encoder_hidden_states", gradients[1], bundle["grad_encoder_hidden_states"], precision.gradient_error);
}

void check_vae(const std::string& name, const Precision& precision) {
  auto bundle = load_bundle(name, precision.dtype);
  auto vae = load_parity_model<AutoencoderKL, VaeConfig>(name, kDiffusersFile, precision.dtype);
  const auto moments = vae->encode(bundle["image"]);
  const Tensor latents = differentiable(bundle["latents"]);
  const Tensor decoded = vae->decode(latents);
  check_close("mean", moments.mean, bundle["mean"], precision.output_error);
  check_close("logvar", moments.logvar, bundle["logvar"], precision.output_error);
  check_close("decoded", decoded, bundle["decoded"], precision.output_error);
  const auto gradients = torch::autograd::grad({decoded}, {latents}, {bundle["cotangent"]});
  check_close("grad_latents", gradients[0], bundle["grad_latents"], precision.gradient_error);
}

void check_text(const std::string& name, const Precision& precision) {
  auto bundle = load_bundle(name, precision.dtype);
  auto text = load_parity_model<ClipTextModel, ClipTextConfig>(name, kTransformersFile, precision.dtype);
  const auto output = text->forward(bundle["input_ids"]);
  check_close("last_hidden_state", output.last_hidden_state, bundle["last_hidden_state"], precision.output_error);
  check_close("pooled", output.pooled, bundle["pooled"], precision.output_error);
}

void check_vision(const std::string& name, const Precision& precision) {
  auto bundle = load_bundle(name, precision.dtype);
  auto vision = load_parity_model<ClipVisionModelWithProjection, ClipVisionConfig>(name, kTransformersFile, precision.dtype);
  const Tensor pixels = differentiable(bundle["pixels"]);
  const Tensor embeds = vision->forward(pixels);
  check_close("image_embeds", embeds, bundle["image_embeds"], precision.output_error);
  const auto gradients = torch::autograd::grad({embeds}, {pixels}, {bundle["cotangent"]});
  check_close("grad_pixels", gradients[0], bundle["grad_pixels"], precision.gradient_error);
}

template <class Check>
void check_all(const std::vector<std::string>& names, Check check) {
  for (const auto& name : names) {
    for (const auto& precision : kPrecisions) {
      INFO(name, " in ", std::string(c10::toString(precision.dtype)));
      check(name, precision);
    }
  }
}

struct Size {
  std::size_t tensors;
  std::int64_t parameters;
};

void check_size(const torch::nn::Module& module, const Size& expected) {
  std::int64_t parameters = 0;
  const TensorMap tensors = named_tensors(module);
  for (const auto& [name, tensor] : tensors) parameters += tensor.numel();
  CHECK(tensors.size() == expected.tensors);
  CHECK(parameters == expected.parameters);
}

}  // namespace

TEST_CASE("the UNet computes what diffusers' computes, forwards and backwards") {
  check_all({"unet_two_layers", "unet_one_layer", "unet_other_order"}, check_unet);
}

TEST_CASE("the VAE encodes and decodes as diffusers' does") { check_all({"vae_two_layers", "vae_one_layer"}, check_vae); }

TEST_CASE("the text encoder computes what transformers' computes") { check_all({"text_quick_gelu", "text_gelu"}, check_text); }

TEST_CASE("the vision tower computes what transformers' computes") { check_all({"vision_gelu", "vision_quick_gelu"}, check_vision); }

TEST_CASE("rows of one batch do not see each other") {
  auto bundle = load_bundle("unet_two_layers", at::kDouble);
  auto unet = load_parity_model<UNet2DConditionModel, UNetConfig>("unet_two_layers", kDiffusersFile, at::kDouble);
  for (std::int64_t row = 0; row < 3; ++row) {
    const Tensor alone = unet->forward(bundle["sample"].narrow(0, row, 1), bundle["timestep"].narrow(0, row, 1),
                                       bundle["encoder_hidden_states"].narrow(0, row, 1));
    check_close("one row", alone, bundle["prediction"].narrow(0, row, 1), 1e-10);
  }
}

TEST_CASE("with twice as many contexts as samples each half of the contexts sees all samples") {
  for (const char* name : {"unet_two_layers", "unet_one_layer", "unet_other_order"}) {
    CAPTURE(name);
    auto bundle = load_bundle(name, at::kDouble);
    auto unet = load_parity_model<UNet2DConditionModel, UNetConfig>(name, kDiffusersFile, at::kDouble);
    const Tensor sample = bundle["sample"].detach().requires_grad_(true), timestep = bundle["timestep"];
    const Tensor contexts = at::cat({bundle["encoder_hidden_states"], bundle["encoder_hidden_states"].flip(0)});
    const Tensor shared = unet->forward(sample, timestep, contexts);
    const Tensor doubled = unet->forward(at::cat({sample, sample}), timestep.repeat({2}), contexts);
    check_close("prediction", shared, doubled, 1e-10);
    const Tensor cotangent = at::cat({bundle["cotangent"], bundle["cotangent"].flip(0)});
    const auto gradient = [&](const Tensor& prediction) { return torch::autograd::grad({prediction}, {sample}, {cotangent})[0]; };
    check_close("gradient", gradient(shared), gradient(doubled), 1e-10);
  }
}

TEST_CASE("the picture is the decoded latents between 0 and 1") {
  auto bundle = load_bundle("vae_one_layer", at::kDouble);
  auto vae = load_parity_model<AutoencoderKL, VaeConfig>("vae_one_layer", kDiffusersFile, at::kDouble);
  REQUIRE(vae->config().scaling_factor == 0.5);
  const Tensor picture = decode_image(*vae, bundle["latents"] * 0.5);
  check_close("picture", picture, (bundle["decoded"] / 2 + 0.5).clamp(0, 1), 1e-10);
  CHECK(picture.min().item<double>() >= 0.0);
  CHECK(picture.max().item<double>() <= 1.0);
}

TEST_CASE("networks of Stable Diffusion's size have its tensors and parameters") {
  check_size(UNet2DConditionModel(stable_diffusion_unet()), {686, 859'520'964});
  check_size(AutoencoderKL(stable_diffusion_vae()), {248, 83'653'863});
  check_size(ClipTextModel(stable_diffusion_text_encoder()), {196, 123'060'480});
}

TEST_CASE("the flow network of the published algorithm has its tensors and parameters") {
  check_size(UNet2DConditionModel(official_flow_network()), {442, 25'191'556});
}

TEST_CASE("the aesthetic reward's vision tower has its tensors and parameters") {
  check_size(ClipVisionModelWithProjection(clip_l_vision()), {391 + 1, 303'179'776 + 768 * 1024});
}

TEST_CASE("a LoRA of rank 8 on Stable Diffusion's UNet has 128 targets and 1,594,368 parameters") {
  const auto unet = std::make_shared<UNet2DConditionModel>(stable_diffusion_unet());
  std::size_t targets = 0;
  std::int64_t parameters = 0;
  for (const auto& [name, layer] : lora_layers(*unet)) {
    const bool target = name.ends_with(".to_q") || name.ends_with(".to_k") || name.ends_with(".to_v") || name.ends_with(".to_out.0");
    if (!target) continue;
    ++targets;
    parameters += 8 * (layer->base_weight().size(0) + layer->base_weight().size(1));
  }
  CHECK(targets == 128);
  CHECK(parameters == 1'594'368);
}
