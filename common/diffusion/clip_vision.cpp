#include "common/diffusion/clip_vision.h"

#include "common/diffusion/clip_layers.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace nabla {

namespace {

// Class token and patches with their positions: [N,3,S,S] -> [N,1+patches,width].
class ClipVisionEmbeddings : public torch::nn::Module {
 public:
  explicit ClipVisionEmbeddings(const ClipVisionConfig& config) {
    const std::int64_t side = config.image_size / config.patch_size;
    class_embedding_ = register_parameter("class_embedding", at::empty({config.hidden_size}, at::kFloat));
    patch_embedding_ = register_module("patch_embedding", std::make_shared<Conv2d>(3, config.hidden_size,
        Conv2d::Options{.kernel = config.patch_size, .stride = config.patch_size, .padding = 0, .bias = false}));
    position_embedding_ = register_module("position_embedding", std::make_shared<Embedding>(side * side + 1, config.hidden_size));
  }
  Tensor forward(const Tensor& pixels) const {
    const Tensor patches = patch_embedding_->forward(pixels).flatten(2).transpose(1, 2);
    const Tensor classes = class_embedding_.expand({pixels.size(0), 1, -1});
    return at::cat({classes, patches}, 1) + position_embedding_->weight;
  }

 private:
  Tensor class_embedding_;
  std::shared_ptr<Conv2d> patch_embedding_;
  std::shared_ptr<Embedding> position_embedding_;
};

}  // namespace

struct ClipVisionModelWithProjection::Layers {
  std::shared_ptr<ClipVisionEmbeddings> embeddings;
  std::shared_ptr<LayerNorm> pre_layernorm, post_layernorm;
  std::shared_ptr<ClipEncoder> encoder;
  std::shared_ptr<LoraLinear> visual_projection;
};

ClipVisionModelWithProjection::ClipVisionModelWithProjection(const ClipVisionConfig& config) : config_(config), layers_(std::make_unique<Layers>()) {
  auto vision_model = std::make_shared<torch::nn::Module>();
  Layers& net = *layers_;
  net.embeddings = vision_model->register_module("embeddings", std::make_shared<ClipVisionEmbeddings>(config));
  net.pre_layernorm = vision_model->register_module("pre_layrnorm", std::make_shared<LayerNorm>(config.hidden_size, config.layer_norm_eps));
  net.encoder = vision_model->register_module(
      "encoder", std::make_shared<ClipEncoder>(ClipLayerShape{.width = config.hidden_size, .inner_width = config.intermediate_size,
                                                              .heads = config.num_attention_heads, .count = config.num_hidden_layers,
                                                              .eps = config.layer_norm_eps, .activation = config.hidden_act}));
  net.post_layernorm = vision_model->register_module("post_layernorm", std::make_shared<LayerNorm>(config.hidden_size, config.layer_norm_eps));
  register_module("vision_model", vision_model);
  net.visual_projection = register_module("visual_projection", std::make_shared<LoraLinear>(config.hidden_size, config.projection_dim, false));
}

ClipVisionModelWithProjection::~ClipVisionModelWithProjection() = default;

Tensor ClipVisionModelWithProjection::forward(const Tensor& pixels) {
  const Tensor hidden = layers_->encoder->forward(layers_->pre_layernorm->forward(layers_->embeddings->forward(pixels)), false);
  return layers_->visual_projection->forward(layers_->post_layernorm->forward(hidden.select(1, 0)));
}

}  // namespace nabla
