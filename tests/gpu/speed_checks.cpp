#include "common/device/arithmetic.h"
#include "common/diffusion/parameters.h"
#include "common/diffusion/policy.h"
#include "common/diffusion/sampling.h"
#include "common/diffusion/vae.h"
#include "tests/diffusion/tiny_configs.h"
#include "tests/gpu/checks.h"

#include <torch/csrc/autograd/autograd.h>

namespace nabla {
namespace {

// Operations an image, of the operation counts of the networks: 2 a multiply-add.
constexpr double kUnetForward = 803.3e9, kUnetVjp = 992.4e9, kDecoderForward = 2514.5e9, kDecoderVjp = 2566e9;
constexpr std::int64_t kImages = 16, kSteps = 50;

at::TensorOptions bf16_on_gpu() { return at::TensorOptions().device(at::kCUDA).dtype(at::kBFloat16); }

double matmul_flop_per_s() {
  constexpr std::int64_t kSide = 8192;
  const Tensor a = at::randn({kSide, kSide}, bf16_on_gpu()), b = at::randn({kSide, kSide}, bf16_on_gpu());
  return 2.0 * kSide * kSide * kSide / seconds_per_call(5, 30, [&] { at::mm(a, b); });
}

// Random weights that keep activations of the order of one.
template <class Network, class Config>
std::shared_ptr<Network> random_network(const Config& config) {
  auto network = std::make_shared<Network>(config);
  place_parameters(*network, Placement(at::kBFloat16, at::kCUDA));
  const at::NoGradGuard no_grad;
  for (auto& item : network->named_parameters()) {
    Tensor value = item.value();
    const bool norm = item.key().find("norm") != std::string::npos && value.dim() == 1;
    if (value.dim() == 1) value.fill_(norm && item.key().ends_with("weight") ? 1.0 : 0.0);
    if (value.dim() > 1) value.normal_(0.0, 1.0 / std::sqrt(static_cast<double>(value.numel() / value.size(0))));
    value.requires_grad_(false);
  }
  return network;
}

UNetConfig stable_diffusion_unet() {
  UNetConfig config;
  config.cross_attention_dim = 768;
  return config;
}

VaeConfig stable_diffusion_vae() {
  VaeConfig config;
  config.block_out_channels = {128, 256, 512, 512};
  config.layers_per_block = 2;
  config.sample_size = 512;
  return config;
}

nlohmann::json speed(const std::string& name, double flop, double seconds, double matmul) {
  return {{"check", name},
          {"seconds", seconds},
          {"tflop", flop * 1e-12},
          {"tflop_per_s", flop / seconds * 1e-12},
          {"share_of_matmul", flop / seconds / matmul},
          {"peak_gib", gpu_peak_gib()}};
}

struct Prompts {
  explicit Prompts(std::int64_t rows) : conditioning{at::randn({rows, 77, 768}, bf16_on_gpu()), at::randn({1, 77, 768}, bf16_on_gpu())} {}
  Conditioning conditioning;
};

void measure_sampling(Checks& checks, Policy& policy, double matmul) {
  const StepTable table = make_step_table(stable_diffusion_schedule(), Sampler::kDdim, kSteps, 1.0);
  const Prompts prompts(kImages);
  const Tensor start = at::randn({kImages, 4, 64, 64}), noise = at::randn({kImages, 4, 64, 64});
  const auto sample = [&](NetworkCalls calls) {
    return [&, calls] {
      sample_latents(
          policy, WeightMode::kMerged, table, prompts.conditioning, start, [&](std::size_t) { return noise; }, {}, calls);
    };
  };
  const double flop = 2.0 * kUnetForward * kSteps * kImages;
  forget_gpu_peak();
  const double plain = seconds_per_call(1, 1, sample(NetworkCalls::kPlain));
  checks.push_back(speed("50 steps with guidance, 16 images", flop, plain, matmul));
  checks.back()["seconds_a_trajectory"] = plain / kImages;
  forget_gpu_peak();
  const double graphed = seconds_per_call(0, 1, sample(NetworkCalls::kGraphed));
  checks.push_back(speed("the same by a CUDA graph, its recording included", flop, graphed, matmul));
}

void measure_unet(Checks& checks, Policy& policy, Activations activations, const std::string& name, double matmul) {
  constexpr std::int64_t kRows = 8;
  const at::AutoGradMode record(true);
  policy.unet().set_activations(activations);
  const Prompts prompts(kRows);
  const Tensor x = at::randn({kRows, 4, 64, 64}, bf16_on_gpu().dtype(at::kFloat)).requires_grad_(true);
  const Tensor timestep = at::full({kRows}, 500, x.options().dtype(at::kLong).requires_grad(false));
  forget_gpu_peak();
  const double seconds = seconds_per_call(1, 3, [&] {
    const Tensor eps = policy.predict(WeightMode::kMerged, x, timestep, prompts.conditioning);
    torch::autograd::grad({eps}, {x}, {at::ones_like(eps)});
  });
  checks.push_back(speed(name, 2.0 * (kUnetForward + kUnetVjp) * kRows, seconds, matmul));
  policy.unet().set_activations(Activations::kKept);
}

void measure_decoder(Checks& checks, double matmul) {
  constexpr std::int64_t kRows = 8;
  const auto vae = random_network<AutoencoderKL>(stable_diffusion_vae());
  const Tensor latents = at::randn({kRows, 4, 64, 64}, bf16_on_gpu().dtype(at::kFloat));
  forget_gpu_peak();
  const double decode = seconds_per_call(1, 3, [&] {
    const at::NoGradGuard no_grad;
    decode_image(*vae, latents);
  });
  checks.push_back(speed("decoder, 8 images", kDecoderForward * kRows, decode, matmul));
  const at::AutoGradMode record(true);
  const Tensor clean = latents.detach().requires_grad_(true);
  forget_gpu_peak();
  const double vjp = seconds_per_call(1, 3, [&] {
    const Tensor images = decode_image(*vae, clean);
    torch::autograd::grad({images}, {clean}, {at::ones_like(images)});
  });
  checks.push_back(speed("decoder and its VJP, 8 images", (kDecoderForward + kDecoderVjp) * kRows, vjp, matmul));
}

}  // namespace

void measure_speed(Checks& checks) {
  set_repeatable(false);
  const at::NoGradGuard no_grad;
  const double matmul = matmul_flop_per_s();
  checks.push_back({{"check", "matrix product 8192^3 in bfloat16"}, {"tflop_per_s", matmul * 1e-12}});
  {
    Policy policy(random_network<UNet2DConditionModel>(stable_diffusion_unet()), LoraConfig{}, 5.0, 1);
    measure_sampling(checks, policy, matmul);
    measure_unet(checks, policy, Activations::kKept, "U-Net with guidance and its VJP, 8 rows", matmul);
    measure_unet(checks, policy, Activations::kRecomputed, "the same, activations recomputed", matmul);
  }
  measure_decoder(checks, matmul);
}

}  // namespace nabla
