#pragma once

#include "common/diffusion/clip_text.h"
#include "common/diffusion/diffusers_folder.h"
#include "common/diffusion/parameters.h"
#include "common/diffusion/tokenizer.h"
#include "common/diffusion/transition_kernel.h"
#include "common/diffusion/unet.h"
#include "common/diffusion/vae.h"

#include <memory>
#include <string>

namespace nabla {

// A model of a StableDiffusionPipeline: a folder in diffusers' layout, one of the hub cache (hub_cache.h), or a single file (single_file.h). Every loader throws
// data_error naming the file, the tensor, its shape and what was expected; missing and unexpected tensors are reported together; NaN and Inf weights are
// refused by name.
class ModelFolder {
 public:
  static ModelFolder open(const std::string& path);  // refuses other pipelines and families by name
  const std::string& path() const { return path_; }
  const std::shared_ptr<const ModelSource>& source() const { return source_; }

  // Frozen. On the meta device they are shapes alone, and no weights are read. Loading takes the memory of the network itself and of one tensor more; on a GPU it goes there tensor by tensor.
  std::shared_ptr<UNet2DConditionModel> load_unet(const Placement& placement) const;
  std::shared_ptr<AutoencoderKL> load_vae(const Placement& placement) const;
  std::shared_ptr<ClipTextModel> load_text_encoder(const Placement& placement) const;
  ClipTokenizer load_tokenizer() const;
  SchedulerConfig scheduler() const;
  // XXH3-128 over the weights and configurations that decide a trajectory (unet, vae, text encoder, scheduler); the same whatever form the model is in.
  std::string digest() const;

 private:
  std::string path_;
  std::shared_ptr<const ModelSource> source_;
};

}  // namespace nabla
