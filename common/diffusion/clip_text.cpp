#include "common/diffusion/clip_text.h"

#include "common/diffusion/clip_layers.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace nabla {

struct ClipTextModel::Layers {
  std::shared_ptr<Embedding> token_embedding, position_embedding;
  std::shared_ptr<ClipEncoder> encoder;
  std::shared_ptr<LayerNorm> final_layer_norm;
};

ClipTextModel::ClipTextModel(const ClipTextConfig& config) : config_(config), layers_(std::make_unique<Layers>()) {
  auto text_model = std::make_shared<torch::nn::Module>();
  auto embeddings = std::make_shared<torch::nn::Module>();
  Layers& net = *layers_;
  net.token_embedding = embeddings->register_module("token_embedding", std::make_shared<Embedding>(config.vocab_size, config.hidden_size));
  net.position_embedding =
      embeddings->register_module("position_embedding", std::make_shared<Embedding>(config.max_position_embeddings, config.hidden_size));
  text_model->register_module("embeddings", embeddings);
  net.encoder = text_model->register_module(
      "encoder", std::make_shared<ClipEncoder>(ClipLayerShape{.width = config.hidden_size, .inner_width = config.intermediate_size,
                                                              .heads = config.num_attention_heads, .count = config.num_hidden_layers,
                                                              .eps = config.layer_norm_eps, .activation = config.hidden_act}));
  net.final_layer_norm = text_model->register_module("final_layer_norm", std::make_shared<LayerNorm>(config.hidden_size, config.layer_norm_eps));
  register_module("text_model", text_model);
}

ClipTextModel::~ClipTextModel() = default;

ClipTextModel::Output ClipTextModel::forward(const Tensor& input_ids) {
  const Tensor positions = layers_->position_embedding->weight.narrow(0, 0, input_ids.size(1));
  const Tensor embedded = layers_->token_embedding->forward(input_ids) + positions;
  const Tensor hidden = layers_->final_layer_norm->forward(layers_->encoder->forward(embedded, true));
  // transformers' rule: eos_token_id 2 is a wrong value that old configurations carry, and means "the largest id".
  const Tensor eos = config_.eos_token_id == 2 ? input_ids.argmax(-1) : (input_ids == config_.eos_token_id).to(at::kInt).argmax(-1);
  const Tensor rows = at::arange(hidden.size(0), at::TensorOptions().dtype(at::kLong).device(hidden.device()));
  return {hidden, hidden.index({rows, eos})};
}

}  // namespace nabla
