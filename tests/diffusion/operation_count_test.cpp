#include "common/diffusion/operation_count.h"
#include "common/diffusion/initialization.h"
#include "common/diffusion/stable_diffusion_v1.h"
#include "tests/bench/operation_counter.h"
#include "tests/diffusion/tiny_configs.h"
#include "tests/testing.h"

#include <cmath>

using namespace nabla;

namespace {

double in_gigaflop(double flop) { return std::round(flop / 1e7) / 100.0; }

template <class Pass>
double counted(Pass pass) {
  const at::NoGradGuard no_grad;
  const OperationCounter counter;
  pass();
  return counter.flop();
}

}  // namespace

TEST_CASE("the operations that are counted from a UNet's layers are those that run") {
  UNet2DConditionModel unet(tiny_unet_config(8, 6));
  initialize_parameters(unet, 1);
  for (const auto& [height, width] : {std::pair{8, 8}, {7, 10}}) {
    const double ran = counted([&, h = height, w = width] {
      unet.forward(at::ones({1, 4, h, w}), at::full({1}, 7, at::kLong), at::ones({1, 5, 6}));
    });
    CHECK(forward_flop(unet, height, width, 5) == ran);
  }
}

TEST_CASE("the operations that are counted from a VAE's layers are those that a decoding runs") {
  VaeConfig config;
  config.norm_num_groups = 2;
  config.block_out_channels = {4, 8, 8};
  AutoencoderKL vae(config);
  initialize_parameters(vae, 1);
  const double ran = counted([&] { vae.decode(at::ones({1, 4, 3, 5})); });
  CHECK(decode_flop(vae, 3, 5) == ran);
}

TEST_CASE("Stable Diffusion v1.5 costs 803.27 GFLOP a UNet pass, 2514.52 a decoding and 33.36 a pass of the flow network") {
  // Memory that is never touched: no more than addresses.
  const UNet2DConditionModel unet(stable_diffusion_unet()), flow(official_flow_network());
  const AutoencoderKL vae(stable_diffusion_vae());
  CHECK(in_gigaflop(forward_flop(unet, 64, 64, 77)) == 803.27);
  CHECK(in_gigaflop(decode_flop(vae, 64, 64)) == 2514.52);
  CHECK(in_gigaflop(forward_flop(flow, 64, 64, 77)) == 33.36);
}
