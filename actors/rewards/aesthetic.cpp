#include "actors/rewards/aesthetic.h"

#include "common/diffusion/layers.h"
#include "common/diffusion/model_config.h"
#include "common/diffusion/model_folder.h"
#include "common/error.h"
#include "common/json_file.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

#include <algorithm>
#include <filesystem>

namespace nabla {

namespace {

// One value a channel: [3,1,1] like `images`.
Tensor per_channel(const std::vector<double>& values, const Tensor& images) {
  return torch::tensor(values, at::kDouble).view({3, 1, 1}).to(images.options());
}

std::string triple(const std::vector<double>& values) { return fmt::format("[{}, {}, {}]", values[0], values[1], values[2]); }

// Bicubic with a = -0.75 and without antialiasing, squashed to a square: as the release resizes; the predictor itself was published with an antialiased
// resize of 8-bit pictures.
Tensor resize_bicubic(const Tensor& images, std::int64_t size) {
  if (images.size(2) == size && images.size(3) == size) return images;
  return at::upsample_bicubic2d(images, {size, size}, /*align_corners=*/false, std::nullopt, std::nullopt);
}

bool belongs_to_text_tower(const std::string& name) {
  return name.starts_with("text_model.") || name.starts_with("text_projection") || name == "logit_scale" || name.ends_with("position_ids");
}

TensorMap load_aesthetic_tensors(const std::string& folder) {
  TensorMap tensors = load_component_tensors(folder, "model");
  std::erase_if(tensors, [](const auto& item) { return belongs_to_text_tower(item.first); });
  return tensors;
}

std::vector<std::int64_t> head_sizes_of(const TensorMap& tensors, const std::string& folder) {
  std::vector<std::int64_t> sizes;
  for (const char* layer : kAestheticHeadLayers) {
    const auto found = tensors.find(fmt::format("layers.{}.weight", layer));
    if (found == tensors.end()) {
      throw data_error("[reward] {}: there is no tensor 'layers.{}.weight'; the head has layers.0, .2, .4, .6 and .7", folder, layer);
    }
    sizes.push_back(found->second.size(0));
  }
  return sizes;
}

}  // namespace

AestheticConfig AestheticConfig::from_json(const nlohmann::json& json, const std::string& source) {
  const ConfigReader reader(json, source);
  nlohmann::json vision = reader.find("vision_config") != nullptr ? *reader.find("vision_config") : json;
  if (const auto* width = reader.find("projection_dim")) vision["projection_dim"] = *width;
  AestheticConfig config;
  config.vision = ClipVisionConfig::from_json(vision, source);
  reader.read("head_sizes", config.head_sizes);
  reader.read("image_mean", config.image_mean);
  reader.read("image_std", config.image_std);
  const auto positive = [](double value) { return value > 0.0; };
  if (!config.head_sizes.empty() && config.head_sizes.size() != kAestheticHeadLayers.size()) reader.refuse("head_sizes", "five widths");
  if (config.image_mean.size() != 3) reader.refuse("image_mean", "three numbers");
  if (config.image_std.size() != 3 || !std::ranges::all_of(config.image_std, positive))
    reader.refuse("image_std", "three positive numbers");
  return config;
}

nlohmann::ordered_json AestheticConfig::to_json() const {
  nlohmann::ordered_json json = vision.to_json();
  json["head_sizes"] = head_sizes;
  json["image_mean"] = image_mean;
  json["image_std"] = image_std;
  return json;
}

struct AestheticNetwork::Layers {
  std::shared_ptr<ClipVisionModelWithProjection> vision;
  std::vector<std::shared_ptr<LoraLinear>> head;
};

AestheticNetwork::AestheticNetwork(const AestheticConfig& config) : config_(config), layers_(std::make_unique<Layers>()) {
  layers_->vision = std::make_shared<ClipVisionModelWithProjection>(config.vision);
  // The tower's parts are registered here, so that names are those of a CLIPModel file.
  for (const auto& part : layers_->vision->named_children()) register_module(part.key(), part.value());
  const auto head = register_module("layers", std::make_shared<torch::nn::Module>());
  std::int64_t width = config.vision.projection_dim;
  for (std::size_t i = 0; i < kAestheticHeadLayers.size(); ++i) {
    const std::int64_t next = config.head_sizes.at(i);
    layers_->head.push_back(head->register_module(kAestheticHeadLayers[i], std::make_shared<LoraLinear>(width, next, true)));
    width = next;
  }
}

AestheticNetwork::~AestheticNetwork() = default;

Tensor AestheticNetwork::forward(const Tensor& images) {
  const Tensor resized = resize_bicubic(images, config_.vision.image_size);
  const Tensor pixels = (resized - per_channel(config_.image_mean, images)) / per_channel(config_.image_std, images);
  const Tensor embeds = layers_->vision->forward(pixels);
  Tensor hidden = embeds / embeds.norm(2, -1, /*keepdim=*/true);
  for (const auto& linear : layers_->head) hidden = linear->forward(hidden);
  return hidden.squeeze(-1);
}

std::shared_ptr<AestheticNetwork> load_aesthetic_network(const std::string& folder, const Placement& placement) {
  if (!std::filesystem::is_directory(folder)) {
    throw data_error(
        "[reward] there is no reward folder '{}'; experiment.reward_model takes a folder with config.json and model.safetensors", folder);
  }
  const std::string file = folder + "/config.json";
  AestheticConfig config = AestheticConfig::from_json(nlohmann::json(read_json(file)), file);
  const TensorMap tensors = load_aesthetic_tensors(folder);
  if (config.head_sizes.empty()) config.head_sizes = head_sizes_of(tensors, folder);
  auto network = std::make_shared<AestheticNetwork>(config);
  place_parameters(*network, placement);
  load_parameters(*network, tensors, folder);
  for (auto& parameter : network->parameters()) parameter.requires_grad_(false);
  network->eval();
  return network;
}

AestheticReward::AestheticReward(const std::string& folder, const Placement& placement)
    : network_(load_aesthetic_network(folder, placement)), placement_(placement) {}

std::string AestheticReward::spec() const {
  if (!spec_.empty()) return spec_;
  const AestheticConfig& config = network_->config();
  return spec_ = fmt::format("aesthetic_score: weights {}, {}, pictures {}x{} bicubic a=-0.75 without antialias, mean {}, std {}",
                             digest_of(named_tensors(*network_)), c10::toString(placement_.dtype), config.vision.image_size,
                             config.vision.image_size, triple(config.image_mean), triple(config.image_std));
}

Tensor AestheticReward::score(const Tensor& images, const std::vector<std::string>&) {
  require_pictures("aesthetic_score", images);
  return network_->forward(images.to(placement_.device, placement_.dtype)).to(c10::promoteTypes(images.scalar_type(), at::kFloat));
}

}  // namespace nabla
