#include "common/diffusion/unicode_text.h"

#include "common/error.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

namespace nabla {

namespace {

utf8proc_category_t category_of(char32_t code_point) { return utf8proc_category(static_cast<utf8proc_int32_t>(code_point)); }

std::string normalized(std::string_view text, unsigned form) {
  utf8proc_uint8_t* result = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()), &result,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | form));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, &std::free);
  if (size < 0) throw data_error("[text] a text of {} bytes cannot be read: {}", text.size(), utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(result), static_cast<std::size_t>(size)};
}

struct Range {
  char32_t first, last;
};

template <std::size_t N>
bool is_in(const Range (&ranges)[N], char32_t point) {
  return std::ranges::any_of(ranges, [point](const Range& range) { return point >= range.first && point <= range.last; });
}

// Unicode's Other_Uppercase and Other_Lowercase: cased without being of category Lu, Ll or Lt.
constexpr Range kOtherCased[] = {{0xAA, 0xAA},       {0xBA, 0xBA},       {0x2B0, 0x2B8},     {0x2C0, 0x2C1},     {0x2E0, 0x2E4},
                                 {0x345, 0x345},     {0x37A, 0x37A},     {0x1D2C, 0x1D6A},   {0x1D78, 0x1D78},   {0x1D9B, 0x1DBF},
                                 {0x2071, 0x2071},   {0x207F, 0x207F},   {0x2090, 0x209C},   {0x2160, 0x217F},   {0x24B6, 0x24E9},
                                 {0x2C7C, 0x2C7D},   {0xA69C, 0xA69D},   {0xA770, 0xA770},   {0xA7F8, 0xA7F9},   {0xAB5C, 0xAB5F},
                                 {0x10780, 0x10780}, {0x10783, 0x10785}, {0x10787, 0x107B0}, {0x107B2, 0x107BA}, {0x1F130, 0x1F149},
                                 {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};
// Marks inside words that a sigma looks past: apostrophes, full stops, middle dots.
constexpr Range kInsideWords[] = {{0x27, 0x27},     {0x2E, 0x2E},     {0x3A, 0x3A},     {0xB7, 0xB7},
                                  {0x387, 0x387},   {0x55F, 0x55F},   {0x5F4, 0x5F4},   {0x2018, 0x2019},
                                  {0x2024, 0x2024}, {0x2027, 0x2027}, {0xFE13, 0xFE13}, {0xFE52, 0xFE52},
                                  {0xFE55, 0xFE55}, {0xFF07, 0xFF07}, {0xFF0E, 0xFF0E}, {0xFF1A, 0xFF1A}};

bool is_cased(char32_t point) {
  const auto category = category_of(point);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT ||
         is_in(kOtherCased, point);
}

bool is_looked_past(char32_t point) {
  switch (category_of(point)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return is_in(kInsideWords, point);
  }
}

// Unicode's Final_Sigma: a cased letter before it, none behind it.
bool ends_word(const CodePoints& text, std::size_t at) {
  std::size_t before = at, behind = at + 1;
  while (before > 0 && is_looked_past(text[before - 1])) --before;
  while (behind < text.size() && is_looked_past(text[behind])) ++behind;
  return before > 0 && is_cased(text[before - 1]) && !(behind < text.size() && is_cased(text[behind]));
}

}  // namespace

CodePoints decode_utf8(std::string_view text) {
  CodePoints points;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t point = 0;
    const utf8proc_ssize_t used = utf8proc_iterate(bytes, left, &point);
    if (used <= 0)
      throw data_error("[text] byte {} of a text of {} bytes is not UTF-8", text.size() - static_cast<std::size_t>(left), text.size());
    points.push_back(static_cast<char32_t>(point));
    bytes += used;
    left -= used;
  }
  return points;
}

void append_utf8(std::string& text, char32_t code_point) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
}

std::string compose_canonically(std::string_view text) { return normalized(text, UTF8PROC_COMPOSE); }
std::string decompose_canonically(std::string_view text) { return normalized(text, UTF8PROC_DECOMPOSE); }

std::string lower_case(std::string_view text) {
  constexpr char32_t kCapitalIWithDot = 0x130, kCombiningDotAbove = 0x307;
  std::string lowered;
  lowered.reserve(text.size());
  for (const char32_t point : decode_utf8(text)) {
    // The one letter whose lower case is two code points.
    if (point == kCapitalIWithDot) {
      lowered += 'i';
      append_utf8(lowered, kCombiningDotAbove);
    } else {
      append_utf8(lowered, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(point))));
    }
  }
  return lowered;
}

std::string lower_case_of_words(std::string_view text) {
  constexpr char32_t kCapitalSigma = 0x3A3, kFinalSigma = 0x3C2;
  const CodePoints points = decode_utf8(text);
  std::string marked;
  for (std::size_t at = 0; at < points.size(); ++at)
    append_utf8(marked, points[at] == kCapitalSigma && ends_word(points, at) ? kFinalSigma : points[at]);
  return lower_case(marked);
}

std::string upper_case(std::string_view text) {
  static const std::map<char32_t, std::string_view> several{{0xDF, "SS"},   {0x149, "\u02BCN"}, {0xFB00, "FF"}, {0xFB01, "FI"},
                                                            {0xFB02, "FL"}, {0xFB03, "FFI"},    {0xFB04, "FFL"}};
  std::string upper;
  for (const char32_t point : decode_utf8(text)) {
    if (const auto found = several.find(point); found != several.end()) {
      upper += found->second;
    } else {
      append_utf8(upper, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(point))));
    }
  }
  return upper;
}

char32_t windows_1252(char32_t control) {
  // 0 where Windows has nothing either.
  static constexpr char16_t kTable[32] = {0x20AC, 0,      0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021, 0x2C6,  0x2030, 0x160,
                                          0x2039, 0x152,  0,      0x17D,  0,      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
                                          0x2013, 0x2014, 0x2DC,  0x2122, 0x161,  0x203A, 0x153,  0,      0x17E,  0x178};
  const char16_t meant = kTable[control - 0x80];
  return meant == 0 ? control : meant;
}

CodePoints standard_width(char32_t code_point) {
  constexpr char32_t kIdeographicSpace = 0x3000;
  if (code_point == kIdeographicSpace) return {U' '};
  if (code_point < 0xFF01 || code_point > 0xFFEF) return {code_point};
  std::string text;
  append_utf8(text, code_point);
  return decode_utf8(normalized(text, UTF8PROC_COMPOSE | UTF8PROC_COMPAT));
}

bool is_white_space(char32_t code_point) {
  if ((code_point >= 0x9 && code_point <= 0xD) || code_point == 0x85) return true;
  const auto category = category_of(code_point);
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

bool is_letter(char32_t code_point) {
  const auto category = category_of(code_point);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool is_number(char32_t code_point) {
  const auto category = category_of(code_point);
  return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool is_decimal_digit(char32_t code_point) { return category_of(code_point) == UTF8PROC_CATEGORY_ND; }

bool is_punctuation(char32_t code_point) {
  const auto category = category_of(code_point);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool is_nonspacing_mark(char32_t code_point) { return category_of(code_point) == UTF8PROC_CATEGORY_MN; }

bool is_control_or_private(char32_t code_point) {
  const auto category = category_of(code_point);
  return category >= UTF8PROC_CATEGORY_CC && category <= UTF8PROC_CATEGORY_CO;
}

}  // namespace nabla
