#pragma once

#include "common/diffusion/model_folder.h"
#include "common/diffusion/pocket_tokenizer.h"
#include "common/diffusion/single_file.h"
#include "common/pocket/caption.h"
#include "tests/common/temporary_folder.h"
#include "tests/diffusion/model_writer.h"

namespace nabla {

// A model of Stable Diffusion's plan at small widths, whose configuration follows from its tensors, as a folder and as the tensors of a single file.
class SmallModel {
 public:
  SmallModel() {
    write_pipeline(path());
    write_tokenizer_beside(path());
    write_network<UNet2DConditionModel>(folder_.file("unet"), "diffusion_pytorch_model", unet_config(), 1);
    write_network<AutoencoderKL>(folder_.file("vae"), "diffusion_pytorch_model", vae_config(), 2);
    write_network<ClipTextModel>(folder_.file("text_encoder"), "model", text_config(), 3);
    single_ = single_file_tensors(*folder().source());
  }

  ModelFolder folder() const { return ModelFolder::open(path()); }
  const std::string& path() const { return folder_.path(); }
  const TensorMap& single() const { return single_; }
  // A single file finds its tokenizer there.
  static void write_tokenizer_beside(const std::string& folder) { write_pocket_tokenizer(folder + "/tokenizer", pocket::caption_words(), 77); }

  static UNetConfig unet_config() {
    UNetConfig config;
    config.down_block_types = {"CrossAttnDownBlock2D", "DownBlock2D"};
    config.up_block_types = {"UpBlock2D", "CrossAttnUpBlock2D"};
    config.block_out_channels = {32, 64};
    config.layers_per_block = 2;
    config.cross_attention_dim = 64;
    config.num_heads = {8, 8};
    return config;
  }
  static VaeConfig vae_config() {
    VaeConfig config;
    config.block_out_channels = {32, 64};
    config.layers_per_block = 2;
    config.sample_size = 512;
    return config;
  }
  static ClipTextConfig text_config() {
    ClipTextConfig config;
    config.hidden_size = 64;
    config.intermediate_size = 96;
    config.num_hidden_layers = 2;
    config.num_attention_heads = 1;
    return config;
  }

 private:
  TemporaryFolder folder_;
  TensorMap single_;
};

inline const SmallModel& small_model() {
  static const SmallModel model;
  return model;
}

}  // namespace nabla
