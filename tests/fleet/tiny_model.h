#pragma once

#include <cstdint>
#include <string>

namespace nabla {

// A Stable Diffusion folder in diffusers' layout with random networks so small that an update takes tens of milliseconds: latents [4,8,8], pictures
// of 16x16 pixels, the captions of the pocket world. Models of two seeds have different digests.
void write_tiny_model(const std::string& folder, std::uint64_t seed);

}  // namespace nabla
