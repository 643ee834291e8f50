#pragma once

#include "actors/rewards/reward_model.h"
#include "common/diffusion/clip_vision.h"
#include "common/diffusion/placement.h"

#include <nlohmann/json_fwd.hpp>
#include <torch/nn/module.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

namespace nabla {

// config.json of an aesthetic scorer: the keys of CLIPVisionModelWithProjection (or of a CLIPModel, under vision_config) and ours.
struct AestheticConfig {
  ClipVisionConfig vision;
  std::vector<std::int64_t> head_sizes;  // outputs of the five linears of the head; empty: as the tensors have them
  std::vector<double> image_mean{0.48145466, 0.4578275, 0.40821073}, image_std{0.26862954, 0.26130258, 0.27577711};

  static AestheticConfig from_json(const nlohmann::json& json, const std::string& source);
  nlohmann::ordered_json to_json() const;
};

// Position of each linear of the head in the published checkpoint; the others are dropouts, and there are no activations.
inline constexpr std::array<const char*, 5> kAestheticHeadLayers{"0", "2", "4", "6", "7"};

// CLIP vision tower, L2 norm, linear head: the architecture of the LAION aesthetic predictor at any size.
// Names: "vision_model...", "visual_projection.weight", "layers.{0,2,4,6,7}.{weight,bias}".
class AestheticNetwork : public torch::nn::Module {
 public:
  explicit AestheticNetwork(const AestheticConfig& config);
  ~AestheticNetwork() override;
  // images [N,3,H,W] in [0,1], of any size (resized to image_size squared) -> [N], with a graph to images and parameters.
  Tensor forward(const Tensor& images);
  const AestheticConfig& config() const { return config_; }

 private:
  struct Layers;
  AestheticConfig config_;
  std::unique_ptr<Layers> layers_;
};

// Reads a folder with config.json and model.safetensors; frozen. Tensors of a text tower beside it are passed over.
// data_error naming the file and the tensor.
std::shared_ptr<AestheticNetwork> load_aesthetic_network(const std::string& folder, const Placement& placement);

class AestheticReward : public RewardModel {
 public:
  AestheticReward(const std::string& folder, const Placement& placement);
  Tensor score(const Tensor& images, const std::vector<std::string>& prompts) override;
  std::string spec() const override;

 private:
  std::shared_ptr<AestheticNetwork> network_;
  Placement placement_;
  mutable std::string spec_;  // made when it is first asked for: it takes a look at all weights
};

}  // namespace nabla
