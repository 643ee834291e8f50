#pragma once

#include "common/image_png.h"

#include <string>
#include <vector>

namespace nabla {

// Copies a picture, each of its pixels enlarged to a square of `factor`, to (left, top). It must fit.
void draw_picture(RgbImage& image, int left, int top, const RgbImage& picture, int factor);

// Pictures of one size in rows, small ones enlarged, each with its caption under it. One caption a picture; at least one.
RgbImage draw_grid(const std::vector<RgbImage>& pictures, const std::vector<std::string>& captions);

}  // namespace nabla
