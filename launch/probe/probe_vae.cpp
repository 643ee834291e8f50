#include "common/device/device.h"
#include "common/error.h"
#include "launch/probe/probe_setup.h"

#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

namespace nabla {

namespace {

std::shared_ptr<AutoencoderKL> load_vae(const ProbeOptions& options) {
  auto vae = open_model(options).load_vae(network_dtype(options));
  vae->to(parse_device(options.device));
  return vae;
}

nlohmann::ordered_json vae_facts(const AutoencoderKL& vae) {
  return {{"parameters", count_parameters(vae)}, {"scaling_factor", vae.config().scaling_factor}};
}

}  // namespace

nlohmann::ordered_json probe_vae_encode(const ProbeOptions& options) {
  const at::NoGradGuard no_grad;
  const auto vae = load_vae(options);
  TensorInput input = open_input(options, network_dtype(options));
  const Tensor image = input.floats("image", "N,3,H,W");
  input.finish();
  const std::int64_t scale = vae->config().scale();
  if (image.size(2) < scale || image.size(3) < scale) {
    throw data_error("[probe] {}: tensor 'image' has shape {}, expected [N,3,H,W] with H and W of at least {}", input.path(),
                     shape_string(image), scale);
  }
  const auto moments = vae->encode(image);
  save_output(options, {{"mean", moments.mean}, {"logvar", moments.logvar}});
  return vae_facts(*vae);
}

nlohmann::ordered_json probe_vae_decode(const ProbeOptions& options) {
  const auto vae = load_vae(options);
  TensorInput input = open_input(options, network_dtype(options));
  input.fix("C", vae->config().latent_channels);
  const Tensor latents = input.floats("latents", "N,C,h,w");
  input.fix("H", input.size("h") * vae->config().scale());
  input.fix("W", input.size("w") * vae->config().scale());
  Tensor cotangent;
  if (input.has("cotangent")) cotangent = input.floats("cotangent", "N,3,H,W");
  input.finish();

  const at::AutoGradMode gradients(cotangent.defined());
  if (cotangent.defined()) latents.requires_grad_(true);
  const Tensor image = vae->decode(latents / vae->config().scaling_factor);
  TensorMap output{{"image", image}};
  if (cotangent.defined()) output["grad_latents"] = torch::autograd::grad({image}, {latents}, {cotangent})[0];
  save_output(options, output);
  return vae_facts(*vae);
}

}  // namespace nabla
