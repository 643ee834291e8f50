#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nabla {

// Interleaved 8-bit RGB, rows from the top: pixels[(y * width + x) * 3 + channel].
struct RgbImage {
  int width = 0, height = 0;
  std::vector<std::uint8_t> pixels;
};

// Keys and texts stored in the file: tEXt chunks, or iTXt (UTF-8) where a text is not plain ASCII. Keys: 1 to 79 ASCII characters.
using PngText = std::vector<std::pair<std::string, std::string>>;

// The bytes of a PNG file. failure() if the sizes do not fit the pixels or a key is refused.
std::string encode_png(const RgbImage& image, const PngText& text = {});
// Writes the file atomically.
void write_png(const std::string& path, const RgbImage& image, const PngText& text = {});

// Decodes any PNG to RGB8: grey is spread, 16 bits are cut, transparency is laid on black. data_error naming `source`, also above
// 16384 pixels a side.
RgbImage decode_png(std::string_view bytes, const std::string& source);
RgbImage read_png(const std::string& path);

}  // namespace nabla
