#include "launch/bitmap_font.h"

#include <algorithm>
#include <map>

namespace nabla {

namespace {

// A letter's rows from the top, divided by '|'; rows at the end may be left out. The base line is under row 7.
const std::map<char, std::string_view>& glyphs() {
  static const std::map<char, std::string_view> kGlyphs{
      {'A', " ### |#   #|#   #|#####|#   #|#   #|#   #"},
      {'B', "#### |#   #|#   #|#### |#   #|#   #|#### "},
      {'C', " ### |#   #|#    |#    |#    |#   #| ### "},
      {'D', "#### |#   #|#   #|#   #|#   #|#   #|#### "},
      {'E', "#####|#    |#    |#### |#    |#    |#####"},
      {'F', "#####|#    |#    |#### |#    |#    |#    "},
      {'G', " ### |#   #|#    |# ###|#   #|#   #| ### "},
      {'H', "#   #|#   #|#   #|#####|#   #|#   #|#   #"},
      {'I', "###| # | # | # | # | # |###"},
      {'J', "  ##|   #|   #|   #|   #|#  #| ## "},
      {'K', "#   #|#  # |# #  |##   |# #  |#  # |#   #"},
      {'L', "#   |#   |#   |#   |#   |#   |####"},
      {'M', "#   #|## ##|# # #|# # #|#   #|#   #|#   #"},
      {'N', "#   #|##  #|# # #|#  ##|#   #|#   #|#   #"},
      {'O', " ### |#   #|#   #|#   #|#   #|#   #| ### "},
      {'P', "#### |#   #|#   #|#### |#    |#    |#    "},
      {'Q', " ### |#   #|#   #|#   #|# # #|#  # | ## #"},
      {'R', "#### |#   #|#   #|#### |# #  |#  # |#   #"},
      {'S', " ####|#    |#    | ### |    #|    #|#### "},
      {'T', "#####|  #  |  #  |  #  |  #  |  #  |  #  "},
      {'U', "#   #|#   #|#   #|#   #|#   #|#   #| ### "},
      {'V', "#   #|#   #|#   #|#   #|#   #| # # |  #  "},
      {'W', "#   #|#   #|#   #|# # #|# # #|## ##|#   #"},
      {'X', "#   #|#   #| # # |  #  | # # |#   #|#   #"},
      {'Y', "#   #|#   #| # # |  #  |  #  |  #  |  #  "},
      {'Z', "#####|    #|   # |  #  | #   |#    |#####"},
      {'a', "|| ### |    #| ####|#   #| ####"},
      {'b', "#   |#   |### |#  #|#  #|#  #|### "},
      {'c', "|| ###|#   |#   |#   | ###"},
      {'d', "   #|   #| ###|#  #|#  #|#  #| ###"},
      {'e', "|| ## |#  #|####|#   | ###"},
      {'f', " ##|#  |###|#  |#  |#  |#  "},
      {'g', "|| ###|#  #|#  #|#  #| ###|   #| ## "},
      {'h', "#   |#   |### |#  #|#  #|#  #|#  #"},
      {'i', "#||#|#|#|#|#"},
      {'j', " #|| #| #| #| #| #| #|# "},
      {'k', "#   |#   |#  #|# # |##  |# # |#  #"},
      {'l', "##| #| #| #| #| #| #"},
      {'m', "||#### |# # #|# # #|# # #|# # #"},
      {'n', "||### |#  #|#  #|#  #|#  #"},
      {'o', "|| ## |#  #|#  #|#  #| ## "},
      {'p', "||### |#  #|#  #|#  #|### |#   |#   "},
      {'q', "|| ###|#  #|#  #|#  #| ###|   #|   #"},
      {'r', "||# #|## |#  |#  |#  "},
      {'s', "|| ###|#   | ## |   #|### "},
      {'t', "#  |#  |###|#  |#  |#  | ##"},
      {'u', "||#  #|#  #|#  #|#  #| ###"},
      {'v', "||#   #|#   #| # # | # # |  #  "},
      {'w', "||#   #|# # #|# # #|# # #| # # "},
      {'x', "||#   #| # # |  #  | # # |#   #"},
      {'y', "||#  #|#  #|#  #|#  #| ###|   #| ## "},
      {'z', "||####|   #| ## |#   |####"},
      {'0', " ### |#   #|#  ##|# # #|##  #|#   #| ### "},
      {'1', " # |## | # | # | # | # |###"},
      {'2', " ### |#   #|    #|   # |  #  | #   |#####"},
      {'3', " ### |#   #|    #|  ## |    #|#   #| ### "},
      {'4', "   # |  ## | # # |#  # |#####|   # |   # "},
      {'5', "#####|#    |#### |    #|    #|#   #| ### "},
      {'6', " ### |#    |#    |#### |#   #|#   #| ### "},
      {'7', "#####|    #|   # |   # |  #  |  #  |  #  "},
      {'8', " ### |#   #|#   #| ### |#   #|#   #| ### "},
      {'9', " ### |#   #|#   #| ####|    #|    #| ### "},
      {'.', "||||||#"},
      {',', "|||||  |#|#"},
      {':', "|||#|||#"},
      {';', "|||#|||#|#"},
      {'!', "#|#|#|#|#||#"},
      {'?', "### |   #|   #| ## | #  |    | #  "},
      {'-', "|||###"},
      {'+', "||  #  |  #  |#####|  #  |  #  "},
      {'=', "|||###||###"},
      {'_', "|||||||####"},
      {'/', "   #|   #|  # |  # | #  | #  |#   "},
      {'|', "#|#|#|#|#|#|#|#"},
      {'(', " #|# |# |# |# |# | #"},
      {')', "# | #| #| #| #| #|# "},
      {'[', "##|# |# |# |# |# |##"},
      {']', "##| #| #| #| #| #|##"},
      {'<', "||  #| # |#  | # |  #"},
      {'>', "||#  | # |  #| # |#  "},
      {'%', "##  #|##  #|   # |  #  | #   |#  ##|#  ##"},
      {'\'', "#|#"},
      {'"', "# #|# #"},
      {'*', "||# #| # |# #"},
      {'#', "| # # |#####| # # |#####| # # "},
      {'&', " ##  |#  # | ##  |##  #|#  # |#  # | ## #"},
      {' ', "||||||   "},
  };
  return kGlyphs;
}

std::string_view glyph_of(char letter) {
  const auto found = glyphs().find(letter);
  return found == glyphs().end() ? "####|#  #|#  #|#  #|#  #|#  #|####" : found->second;
}

template <class Visit>
void for_each_row(std::string_view glyph, Visit&& visit) {
  for (int row = 0;; ++row) {
    const std::size_t end = glyph.find('|');
    visit(row, glyph.substr(0, end));
    if (end == std::string_view::npos) return;
    glyph.remove_prefix(end + 1);
  }
}

int glyph_width(char letter) {
  std::size_t width = 1;
  for_each_row(glyph_of(letter), [&](int, std::string_view dots) { width = std::max(width, dots.size()); });
  return static_cast<int>(width);
}

void fill_square(RgbImage& image, int left, int top, int size, Rgb color) {
  for (int y = std::max(top, 0); y < std::min(top + size, image.height); ++y) {
    for (int x = std::max(left, 0); x < std::min(left + size, image.width); ++x) {
      std::uint8_t* pixel = &image.pixels[static_cast<std::size_t>(y * image.width + x) * 3];
      pixel[0] = color.red;
      pixel[1] = color.green;
      pixel[2] = color.blue;
    }
  }
}

// The longest head of `text` that fits with ".." behind it.
std::string shortened(std::string text, int max_width, int scale) {
  while (!text.empty() && text_width(text + "..", scale) > max_width) text.pop_back();
  return text + "..";
}

}  // namespace

int text_width(std::string_view text, int scale) {
  int width = 0;
  for (const char letter : text) width += glyph_width(letter) + 1;
  return std::max(width - 1, 0) * scale;
}

void draw_text(RgbImage& image, int x, int y, std::string_view text, int scale, Rgb color) {
  for (const char letter : text) {
    for_each_row(glyph_of(letter), [&](int row, std::string_view dots) {
      for (std::size_t column = 0; column < dots.size(); ++column) {
        if (dots[column] == '#') fill_square(image, x + static_cast<int>(column) * scale, y + row * scale, scale, color);
      }
    });
    x += (glyph_width(letter) + 1) * scale;
  }
}

std::vector<std::string> wrap_text(const std::string& text, int max_width, int scale, std::size_t max_lines) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    begin = end + 1;
    if (word.empty()) continue;
    if (!lines.empty() && text_width(lines.back() + " " + word, scale) <= max_width) {
      lines.back() += " " + word;
      continue;
    }
    if (lines.size() == max_lines) {
      lines.back() = shortened(lines.back(), max_width, scale);
      return lines;
    }
    lines.push_back(text_width(word, scale) <= max_width ? word : shortened(word, max_width, scale));
  }
  return lines;
}

}  // namespace nabla
