#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

// What `nabla sample` is asked to do. One picture a prompt.
struct SampleOptions {
  std::string model = "assets/pocket";  // folder in diffusers' layout
  std::string lora;                     // LoRA file of any dialect; empty: the base model
  double lora_scale = 1.0;
  std::vector<std::string> prompts;
  std::int64_t steps = 50;
  double guidance = 5.0, eta = 1.0;
  std::string sampler = "ddim";        // names of sampler_from_name
  std::uint64_t seed = 0;              // picture i takes the noise (seed, i), that of picture i in an evaluation
  std::int64_t height = 0, width = 0;  // 0: the size that the model was trained at
  std::string out = "pictures";        // folder; made if absent
  std::string noise_file;              // start_noise [N,C,h,w], step_noise [S,N,C,h,w] in place of the seed's
  std::string trajectory_file;         // written if named: latents, predictions, timesteps, next_timesteps, images
  std::string dtype = "float32";       // float32 | float64 | bfloat16
  std::string device = "cpu";
};

// Samples and writes OUT/000.png, ... and, for several prompts, OUT/grid.png; returns the paths of the pictures in the order of the prompts.
// usage_error for values that give no picture, data_error naming the tensor for noise of another shape.
std::vector<std::string> sample_pictures(const SampleOptions& options);

}  // namespace nabla
