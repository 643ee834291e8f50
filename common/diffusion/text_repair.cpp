#include "common/diffusion/text_repair.h"

#include "common/diffusion/html_entities.h"
#include "common/diffusion/unicode_text.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

namespace nabla {

namespace {

const std::unordered_map<char32_t, std::u32string_view>& ligatures() {
  static const std::unordered_map<char32_t, std::u32string_view> table{
      {0x132, U"IJ"},      {0x133, U"ij"},      {0x149, U"\u02BCn"},  {0x1F1, U"DZ"},  {0x1F2, U"Dz"},  {0x1F3, U"dz"},
      {0x1C4, U"D\u017D"}, {0x1C5, U"D\u017E"}, {0x1C6, U"d\u017E"},  {0x1C7, U"LJ"},  {0x1C8, U"Lj"},  {0x1C9, U"lj"},
      {0x1CA, U"NJ"},      {0x1CB, U"Nj"},      {0x1CC, U"nj"},       {0xFB00, U"ff"}, {0xFB01, U"fi"}, {0xFB02, U"fl"},
      {0xFB03, U"ffi"},    {0xFB04, U"ffl"},    {0xFB05, U"\u017Ft"}, {0xFB06, U"st"}};
  return table;
}

bool is_line_break(char32_t point) { return point == U'\r' || point == 0x2028 || point == 0x2029 || point == 0x85; }

bool is_unwanted(char32_t point) {
  const bool control = point <= 0x8 || point == 0xB || (point >= 0xE && point <= 0x1F) || point == 0x7F;
  return control || (point >= 0x206A && point <= 0x206F) || point == 0xFEFF || (point >= 0xFFF9 && point <= 0xFFFC);
}

// The steps that look at one code point at a time, in ftfy's order; a "\r\n" becomes two line breaks here, which are white space all the same.
void append_fixed(CodePoints& fixed, char32_t point) {
  if (point >= 0x80 && point <= 0x9F) point = windows_1252(point);
  std::u32string points(1, point);
  if (const auto found = ligatures().find(point); found != ligatures().end()) points = found->second;
  for (const char32_t part : points) {
    for (char32_t normal : standard_width(part)) {
      if (normal == 0x2BC || (normal >= 0x2018 && normal <= 0x201B)) normal = U'\'';
      if (normal >= 0x201C && normal <= 0x201F) normal = U'"';
      fixed.push_back(is_line_break(normal) ? U'\n' : normal);
    }
  }
}

// "\x1b[36;44m": ESC, '[', digits and semicolons, a letter. Its length, or 0.
std::size_t terminal_escape_length(const CodePoints& points, std::size_t at) {
  if (points[at] != 0x1B || at + 1 >= points.size() || points[at + 1] != U'[') return 0;
  std::size_t end = at + 2;
  while (end < points.size() && (is_decimal_digit(points[end]) || points[end] == U';')) ++end;
  const bool letter = end < points.size() && points[end] < 0x80 && is_letter(points[end]);
  return letter ? end + 1 - at : 0;
}

std::string without_controls(const CodePoints& points) {
  std::string text;
  for (std::size_t at = 0; at < points.size();) {
    const std::size_t escape = terminal_escape_length(points, at);
    if (escape == 0 && !is_unwanted(points[at])) append_utf8(text, points[at]);
    at += std::max<std::size_t>(escape, 1);
  }
  return text;
}

std::string repair_line(std::string text, bool html) {
  while (true) {
    CodePoints fixed;
    for (const char32_t point : decode_utf8(html ? unescape_whole_html(text) : text)) append_fixed(fixed, point);
    std::string repaired = compose_canonically(without_controls(fixed));
    if (repaired == text) return text;
    text = std::move(repaired);
  }
}

}  // namespace

std::string repair_text(const std::string& text) {
  std::string repaired;
  bool html = true;  // until a line has a '<': from there on the text is taken for HTML itself
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
    const std::string line = text.substr(begin, end - begin);
    html = html && line.find('<') == std::string::npos;
    repaired += repair_line(line, html);
    begin = end;
  }
  return repaired;
}

}  // namespace nabla
