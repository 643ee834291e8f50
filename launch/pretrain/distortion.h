#pragma once

#include "common/diffusion/tensors.h"
#include "common/philox.h"

#include <array>
#include <cstdint>
#include <vector>

namespace nabla {

// What is done to one training picture, in this order; the defaults change nothing.
struct Distortion {
  std::array<double, 3> gain{1.0, 1.0, 1.0}, offset{};    // a channel: gain * x + offset
  std::array<double, 3> glow{};                           // light added to each channel under a Gaussian window
  double glow_x = 15.5, glow_y = 15.5, glow_sigma = 7.0;  // the window, in pixels
  double blur = 0.0;                                      // 0 sharp, 1 a box of 5 pixels, 2 a quarter of the resolution
  double noise = 0.0;                                     // standard deviation
};

// images [N,3,H,W] in [0,1] and N distortions -> pictures clamped to [0,1].
Tensor distort(const Tensor& images, const std::vector<Distortion>& rows, const Philox& noise);

// A number between low and high.
double between(Philox& random, double low, double high);
std::array<double, 3> three_between(Philox& random, double low, double high);

}  // namespace nabla
