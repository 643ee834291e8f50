#include "launch/picture_grid.h"

#include "launch/bitmap_font.h"

#include <algorithm>
#include <cmath>

namespace nabla {

namespace {

constexpr int kTile = 128, kWidest = 2048;  // pixels that a small picture is enlarged to, and that a grid takes
constexpr int kGap = 20, kMargin = 24, kScale = 2, kLine = (kFontHeight + 1) * kScale;
constexpr std::size_t kLines = 4;
constexpr Rgb kInk{34, 38, 46};

// Near a square, but never wider than kWidest.
std::size_t columns_of(std::size_t pictures, int cell_width) {
  const auto square = static_cast<std::size_t>(std::ceil(std::sqrt(static_cast<double>(pictures))));
  return std::clamp<std::size_t>(static_cast<std::size_t>(kWidest / cell_width), 1, square);
}

}  // namespace

void draw_picture(RgbImage& image, int left, int top, const RgbImage& picture, int factor) {
  for (int y = 0; y < picture.height * factor; ++y) {
    for (int x = 0; x < picture.width * factor; ++x) {
      const int from = ((y / factor) * picture.width + x / factor) * 3, to = ((top + y) * image.width + left + x) * 3;
      std::copy_n(picture.pixels.begin() + from, 3, image.pixels.begin() + to);
    }
  }
}

RgbImage draw_grid(const std::vector<RgbImage>& pictures, const std::vector<std::string>& captions) {
  const int factor = std::max(1, kTile / pictures.front().width);
  const int tile_width = pictures.front().width * factor, tile_height = pictures.front().height * factor;
  const int cell_width = tile_width + kGap, cell_height = tile_height + kLine * static_cast<int>(kLines) + kGap;
  const std::size_t columns = columns_of(pictures.size(), cell_width), rows = (pictures.size() + columns - 1) / columns;
  RgbImage image{.width = 2 * kMargin - kGap + static_cast<int>(columns) * cell_width,
                 .height = 2 * kMargin - kGap + static_cast<int>(rows) * cell_height,
                 .pixels = {}};
  image.pixels.assign(static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3, 255);
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const int left = kMargin + static_cast<int>(i % columns) * cell_width, top = kMargin + static_cast<int>(i / columns) * cell_height;
    draw_picture(image, left, top, pictures[i], factor);
    int y = top + tile_height + 3 * kScale;
    for (const auto& line : wrap_text(captions.at(i), cell_width - 10, kScale, kLines)) {
      draw_text(image, left + (tile_width - text_width(line, kScale)) / 2, y, line, kScale, kInk);
      y += kLine;
    }
  }
  return image;
}

}  // namespace nabla
