#pragma once

#include <cstdint>
#include <string>

namespace nabla::truth {

// Draws what docs/truth.md shows into `folder`, which is made if need be: target and learned densities of T1 and T2 with the bias of FL only, the
// residual flow of T1, the distance against updates of TM. Trains what it needs, a few minutes.
void draw_pictures(const std::string& folder, std::uint64_t seed);

}  // namespace nabla::truth
