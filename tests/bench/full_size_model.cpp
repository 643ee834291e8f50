// A model of Stable Diffusion v1.5's sizes and an aesthetic scorer of CLIP ViT-L/14's, with random weights, for measurements of time and memory.
//   full_size_model FOLDER [HEAD.pth]
// makes FOLDER/model (diffusers' layout, float16, a tokenizer of few words) and FOLDER/aesthetic (its head's weights from HEAD, else random). About 3 GB.

#include "actors/rewards/aesthetic.h"
#include "common/diffusion/initialization.h"
#include "common/diffusion/pocket_tokenizer.h"
#include "common/diffusion/stable_diffusion_v1.h"
#include "common/error.h"
#include "common/json_file.h"
#include "tests/diffusion/model_writer.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

#include <cstdio>

namespace nabla {
namespace {

TensorMap in_halves(const torch::nn::Module& network) {
  TensorMap tensors;
  for (const auto& [name, tensor] : named_tensors(network)) tensors[name] = tensor.to(at::kHalf);
  return tensors;
}

template <class Network, class Config>
void write_component(const std::string& folder, const std::string& base_name, const Config& config, std::uint64_t seed,
                     const TensorMap& given = {}) {
  Network network(config);
  initialize_parameters(network, seed);
  TensorMap tensors = in_halves(network);
  for (const auto& [name, tensor] : given) tensors.at(name) = tensor.to(at::kHalf);
  std::filesystem::create_directories(folder);
  write_json(folder + "/config.json", config.to_json());
  save_tensors(folder + "/" + base_name + ".safetensors", tensors);
  std::printf("%s\n", folder.c_str());
}

void write_all(const std::string& folder, const std::string& head) {
  const std::string model = folder + "/model";
  write_pipeline(model);
  write_pocket_tokenizer(model + "/tokenizer", {"a", "cat", "dog", "horse", "bird"}, static_cast<int>(kStableDiffusionTokens));
  write_component<UNet2DConditionModel>(model + "/unet", "diffusion_pytorch_model", stable_diffusion_unet(), 1);
  write_component<AutoencoderKL>(model + "/vae", "diffusion_pytorch_model", stable_diffusion_vae(), 2);
  write_component<ClipTextModel>(model + "/text_encoder", "model", stable_diffusion_text_encoder(), 3);
  AestheticConfig reward;
  reward.vision = clip_l_vision();
  reward.head_sizes = {1024, 128, 64, 16, 1};
  write_component<AestheticNetwork>(folder + "/aesthetic", "model", reward, 4, head.empty() ? TensorMap{} : load_tensors(head));
}

}  // namespace
}  // namespace nabla

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "usage: full_size_model FOLDER [HEAD.pth]\n");
    return 2;
  }
  try {
    nabla::write_all(argv[1], argc == 3 ? argv[2] : "");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "full_size_model: %s\n", error.what());
    return 1;
  }
  return 0;
}
