#include "common/diffusion/unicode_text.h"

#include "common/error.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

namespace nabla {

namespace {

utf8proc_category_t category_of(char32_t code_point) { return utf8proc_category(static_cast<utf8proc_int32_t>(code_point)); }

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

std::string compose_canonically(std::string_view text) {
  utf8proc_uint8_t* composed = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()), &composed,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(composed, &std::free);
  if (size < 0) throw data_error("[text] a text of {} bytes cannot be read: {}", text.size(), utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(composed), static_cast<std::size_t>(size)};
}

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

}  // namespace nabla
