#include "learner/flow_network.h"

#include "common/diffusion/model_folder.h"
#include "tests/common/error_check.h"
#include "tests/diffusion/tiny_configs.h"

#include <torch/types.h>

using namespace nabla;

namespace {

// With other layers than the flow has.
UNetConfig small_base() {
  UNetConfig config = tiny_unet_config(4, 6);
  config.layers_per_block = 2;
  return config;
}

ModelConfig small_flow() {
  ModelConfig config;
  config.flow_channel_width = {4, 6, 8};
  return config;
}

Tensor flow_at(UNet2DConditionModel& network) {
  const Tensor x = normal_tensor({2, 4, 4, 4}, Philox(1, RandomPurpose::kEvaluationNoise, 1));
  const Tensor embeds = normal_tensor({2, 5, 6}, Philox(1, RandomPurpose::kEvaluationNoise, 2));
  return network.forward(x, torch::tensor({981, 1}, at::kLong), embeds);
}

}  // namespace

TEST_CASE("the flow starts at zero everywhere, and its gradient does not") {
  const auto network = make_flow_network(small_base(), small_flow(), 3);
  const Tensor flow = flow_at(*network);
  CHECK(flow.abs().max().item<double>() == 0.0);
  (flow - 1.0).square().mean().backward();
  double largest = 0;
  for (const auto& item : network->named_parameters()) {
    CHECK(item.value().requires_grad());
    if (item.key().starts_with("conv_out.")) largest = std::max(largest, item.value().grad().abs().max().item<double>());
  }
  CHECK(largest > 0.0);
}

TEST_CASE("the flow's widths come from the configuration, the rest from the base model") {
  const UNetConfig config = flow_config(small_base(), small_flow());
  CHECK(config.block_out_channels == std::vector<std::int64_t>{4, 6, 8});
  CHECK(config.down_block_types == std::vector<std::string>{"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"});
  CHECK(config.up_block_types == std::vector<std::string>{"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"});
  CHECK(config.num_heads == std::vector<std::int64_t>{2, 2, 2});
  CHECK(config.cross_attention_dim == 6);
  CHECK(config.layers_per_block == 1);
  const TensorMap tensors = named_tensors(*make_flow_network(small_base(), small_flow(), 3));
  CHECK(tensors.at("conv_in.weight").sizes() == at::IntArrayRef{4, 4, 3, 3});
  CHECK(tensors.at("conv_out.weight").sizes() == at::IntArrayRef{4, 4, 3, 3});
  CHECK(tensors.at("mid_block.resnets.0.conv1.weight").sizes() == at::IntArrayRef{8, 8, 3, 3});
}

TEST_CASE("the published flow network has its published size") {
  UNetConfig base;
  base.cross_attention_dim = 768;
  const UNet2DConditionModel network(flow_config(base, ModelConfig()));
  std::int64_t count = 0;
  for (const auto& parameter : network.parameters()) count += parameter.numel();
  CHECK(network.parameters().size() == 442);
  CHECK(count == 25'191'556);
}

TEST_CASE("the same seed gives the same network, another seed another") {
  const auto digest = [](std::uint64_t seed) { return digest_of(named_tensors(*make_flow_network(small_base(), small_flow(), seed))); };
  CHECK(digest(3) == digest(3));
  CHECK(digest(3) != digest(4));
}

TEST_CASE("a width that does not fit the base model is refused by name") {
  ModelConfig config = small_flow();
  config.flow_channel_width = {4, 7};
  check_error(
      ExitCode::kUsage, [&] { flow_config(small_base(), config); }, "model.flow_channel_width", "7", "multiples of 2");
}
