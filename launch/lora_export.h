#pragma once

#include <string>
#include <vector>

namespace nabla {

// What `nabla export` is asked to do.
struct ExportOptions {
  std::string source;  // folder of a run, RUN@VERSION, or a LoRA file of any dialect
  std::string model;   // base model of a LoRA file; of a run empty: the run's own
  std::string target;  // folder of the two LoRA files; with `merge` a model folder, or *.safetensors for a single file
  bool merge = false;  // write the whole model with the LoRA in its weights
  double lora_scale = 1.0;
  std::string dtype;  // of a merged model: float32 | float16 | bfloat16; empty: as in the base model
};

// Writes TARGET/pytorch_lora_weights.safetensors (diffusers) and TARGET/<name>_webui.safetensors (ComfyUI, A1111), or the merged model. The target appears whole or
// not at all; usage_error if it is there already. Returns a line a file, in words.
std::vector<std::string> export_lora(const ExportOptions& options);

}  // namespace nabla
