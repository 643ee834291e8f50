#pragma once

#include "common/pocket/caption.h"

#include <cstdint>
#include <vector>

namespace nabla::pocket {

// Draws a scene with random places, exact sizes, slight colour shifts and a random background, antialiased.
// [3, 32, 32] row-major floats in [0,1]; a pure function of (scene, seed, index).
std::vector<float> render(const Scene& scene, std::uint64_t seed, std::uint64_t index);

}  // namespace nabla::pocket
