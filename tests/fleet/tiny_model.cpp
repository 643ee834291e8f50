#include "tests/fleet/tiny_model.h"

#include "common/diffusion/pocket_tokenizer.h"
#include "common/pocket/caption.h"
#include "launch/pretrain/prompt_lists.h"
#include "tests/diffusion/model_writer.h"

#include <algorithm>

namespace nabla {

namespace {

constexpr std::int64_t kTokens = 16, kTextWidth = 16;

VaeConfig tiny_vae() {
  VaeConfig config;
  config.block_out_channels = {4, 8};
  config.norm_num_groups = 2;
  config.sample_size = 16;
  return config;
}

UNetConfig tiny_unet_config() {
  UNetConfig config;
  config.sample_size = 8;
  config.block_out_channels = {8, 16};
  config.down_block_types = {"DownBlock2D", "CrossAttnDownBlock2D"};
  config.up_block_types = {"CrossAttnUpBlock2D", "UpBlock2D"};
  config.layers_per_block = 1;
  config.norm_num_groups = 4;
  config.cross_attention_dim = kTextWidth;
  config.num_heads = {2, 2};
  return config;
}

ClipTextConfig tiny_text(std::int64_t vocabulary) {
  ClipTextConfig config;
  config.vocab_size = vocabulary;
  config.hidden_size = kTextWidth;
  config.intermediate_size = 32;
  config.num_hidden_layers = 1;
  config.num_attention_heads = 2;
  config.max_position_embeddings = kTokens;
  config.eos_token_id = vocabulary - 1;
  return config;
}

}  // namespace

void write_tiny_model(const std::string& folder, std::uint64_t seed) {
  write_pocket_tokenizer(folder + "/tokenizer", pocket::caption_words(), kTokens);
  const auto empty = ClipTokenizer::load(folder + "/tokenizer").encode("");
  const std::int64_t vocabulary = *std::max_element(empty.begin(), empty.end()) + 1;  // the specials come last
  write_network<AutoencoderKL>(folder + "/vae", "diffusion_pytorch_model", tiny_vae(), seed);
  write_network<UNet2DConditionModel>(folder + "/unet", "diffusion_pytorch_model", tiny_unet_config(), seed + 1);
  write_network<ClipTextModel>(folder + "/text_encoder", "model", tiny_text(vocabulary), seed + 2);
  write_pipeline(folder);
  write_prompt_lists(folder + "/prompts", seed);
}

}  // namespace nabla
