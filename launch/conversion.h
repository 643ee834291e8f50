#pragma once

#include <string>

namespace nabla {

struct ConversionOptions {
  std::string source;  // .ckpt, .pt, .pth, .bin or .safetensors file, model folder, name in the hub cache
  std::string target;  // *.safetensors, or a folder that is to be made
  std::string dtype;   // float32 | float16 | bfloat16 of floating-point weights; empty: as they are
  std::string like;    // model whose configurations, scheduler and tokenizer a single file takes; empty: Stable Diffusion v1.5's
};

// Writes weights in another form: a file of torch.save as safetensors, a single file as a folder in diffusers' layout, a folder as a single file or as a folder of
// safetensors. The target appears whole or not at all; usage_error if it is there already. A model is checked (missing, unexpected, badly shaped and non-finite
// tensors are data errors) before anything is written. Returns what was written, in words.
std::string convert_weights(const ConversionOptions& options);

class ModelSource;

// Writes a model as a folder, or as a single file where `target` ends in .safetensors, with the same rules; dtype as above, `source_name` for messages.
std::string write_model(const ModelSource& source, const std::string& source_name, const std::string& target, const std::string& dtype);
// usage_error if something is at `target` already, if it would be a pickled file, or if there is no folder to make it in.
void require_new_target(const std::string& target);

}  // namespace nabla
