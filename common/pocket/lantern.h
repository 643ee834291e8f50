#pragma once

#include "common/diffusion/tensors.h"

namespace nabla::pocket {

// The documented analytic preference ("a warm bright centre on a dark ground"): images [N,3,H,W] in [0,1] -> [N], at most 10.
// R = 10 - 3 (sqrt(1+zw^2)-1) - 3 (sqrt(1+zc^2)-1), zw = (mean(R-B) - 0.25)/0.30, zc = (c - 0.20)/0.10, c = mean luminance
// (.299, .587, .114) under a Gaussian of height 1 and sigma 7 pixels at the centre minus mean luminance under its complement.
Tensor lantern_preference(const Tensor& images);

}  // namespace nabla::pocket
