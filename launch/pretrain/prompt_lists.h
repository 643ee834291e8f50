#pragma once

#include <cstdint>
#include <string>

namespace nabla {

// Writes <folder>/train.txt with every caption that the diffusion model was shown, and <folder>/eval.txt with every one it was not, each in an order
// drawn from the seed, so that the head of a list is a fair sample of it.
void write_prompt_lists(const std::string& folder, std::uint64_t seed);

}  // namespace nabla
