#pragma once

#include "common/image_png.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nabla {

struct Rgb {
  std::uint8_t red = 0, green = 0, blue = 0;
};

// Height of a line of text in pixels at scale 1, descenders included.
inline constexpr int kFontHeight = 9;

// Width in pixels; `scale` enlarges each dot of the font to a square.
int text_width(std::string_view text, int scale);
// Writes ASCII text with its upper left corner at (x, y); letters the font lacks become a box, pixels outside the picture are left out.
void draw_text(RgbImage& image, int x, int y, std::string_view text, int scale, Rgb color);
// Breaks a text at spaces into at most `max_lines` lines of at most `max_width` pixels; what does not fit ends in "..".
std::vector<std::string> wrap_text(const std::string& text, int max_width, int scale, std::size_t max_lines);

}  // namespace nabla
