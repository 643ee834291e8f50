#include "common/diffusion/html_entities.h"

#include "common/diffusion/html_entity_names.h"
#include "common/diffusion/unicode_text.h"

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <string_view>
#include <unordered_map>

namespace nabla {

namespace {

constexpr std::size_t kLongestName = 32, kLongestWholeName = 24;
constexpr char32_t kReplacement = 0xFFFD, kLastCodePoint = 0x10FFFF;

using Names = std::unordered_map<std::string, std::string>;  // without '&', with the ';' where it belongs to the name

Names read_names() {
  Names names;
  std::istringstream words(kHtmlEntityNames);
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    std::istringstream codes(word.substr(equals + 1));
    for (std::string code; std::getline(codes, code, '+');)
      append_utf8(names[word.substr(0, equals)], static_cast<char32_t>(std::stoul(code, nullptr, 16)));
  }
  return names;
}

const Names& entity_names() {
  static const Names names = read_names();
  return names;
}

bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }
bool is_hex_digit(char byte) { return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F'); }
bool is_alphanumeric(char byte) { return is_digit(byte) || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z'); }

// Code points that a reference may not name; they vanish.
bool is_forbidden(char32_t point) {
  const bool control = (point >= 0x1 && point <= 0x8) || point == 0xB || (point >= 0xE && point <= 0x1F) || point == 0x7F;
  return control || (point >= 0xFDD0 && point <= 0xFDEF) || (point & 0xFFFE) == 0xFFFE;
}

std::string character_of_number(char32_t number) {
  std::string text;
  const bool surrogate = number >= 0xD800 && number <= 0xDFFF;
  if (number == 0 || surrogate || number > kLastCodePoint) {
    append_utf8(text, kReplacement);
  } else if (number >= 0x80 && number <= 0x9F) {
    append_utf8(text, windows_1252(number));
  } else if (!is_forbidden(number)) {
    append_utf8(text, number);
  }
  return text;
}

// One reference at the start of a text: what it stands for and how long it is; length 0 where there is none.
struct Reference {
  std::string text;
  std::size_t length = 0;
};

Reference read_number(std::string_view text) {
  const bool hex = text.size() > 2 && (text[2] == 'x' || text[2] == 'X');
  std::size_t at = hex ? 3 : 2;
  const std::size_t begin = at;
  char32_t number = 0;
  for (; at < text.size() && (hex ? is_hex_digit(text[at]) : is_digit(text[at])); ++at) {
    const char byte = text[at];
    const auto digit = static_cast<char32_t>(is_digit(byte) ? byte - '0' : (byte | 0x20) - 'a' + 10);
    number = std::min<char32_t>(number * (hex ? 16 : 10) + digit, kLastCodePoint + 1);
  }
  if (at == begin) return {};
  if (at < text.size() && text[at] == ';') ++at;
  return {character_of_number(number), at};
}

// Up to 32 characters, of which the longest start that is a name counts.
Reference read_name(std::string_view text) {
  std::size_t at = 1;
  for (std::size_t count = 0; at < text.size() && count < kLongestName; ++count) {
    if (std::string_view("\t\n\f <&#;").find(text[at]) != std::string_view::npos) break;
    ++at;
    while (at < text.size() && (text[at] & 0xC0) == 0x80) ++at;
  }
  if (at == 1) return {};
  if (at < text.size() && text[at] == ';') ++at;
  for (std::size_t length = at - 1; length > 1; --length) {
    const auto found = entity_names().find(std::string(text.substr(1, length)));
    if (found != entity_names().end()) return {found->second, length + 1};
  }
  return {std::string(text.substr(0, at)), at};
}

// What ftfy makes of "&name;", where it knows it.
const std::string* find_whole_name(const std::string& name, std::string& upper) {
  if (const auto found = entity_names().find(name); found != entity_names().end()) return &found->second;
  const std::string lower = lower_case(name);
  const auto found = entity_names().find(lower);
  const bool capitals = std::ranges::none_of(name, [](char byte) { return byte >= 'a' && byte <= 'z'; });
  if (!capitals || found == entity_names().end() || unescape_html("&" + name) != "&" + name) return nullptr;
  upper = upper_case(found->second);
  return &upper;
}

// "&#?[0-9A-Za-z]{1,24};" at the start of a text: its length, or 0.
std::size_t whole_reference_length(std::string_view text) {
  const std::size_t begin = text.size() > 1 && text[1] == '#' ? 2 : 1;
  std::size_t at = begin;
  while (at < text.size() && is_alphanumeric(text[at])) ++at;
  const bool whole = at > begin && at - begin <= kLongestWholeName && at < text.size() && text[at] == ';';
  return whole ? at + 1 : 0;
}

std::string unescape_whole(const std::string& reference) {
  if (reference[1] == '#') {
    const std::string text = unescape_html(reference);
    return text.find(';') == std::string::npos ? text : reference;
  }
  std::string upper;
  const std::string* text = find_whole_name(reference.substr(1), upper);
  return text == nullptr ? reference : *text;
}

}  // namespace

std::string unescape_html(const std::string& text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = std::string_view(text).substr(at);
    Reference reference;
    if (rest.front() == '&') reference = rest.size() > 1 && rest[1] == '#' ? read_number(rest) : read_name(rest);
    result += reference.length == 0 ? std::string(1, rest.front()) : reference.text;
    at += std::max<std::size_t>(reference.length, 1);
  }
  return result;
}

std::string unescape_whole_html(const std::string& text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = text[at] == '&' ? whole_reference_length(std::string_view(text).substr(at)) : 0;
    result += length == 0 ? std::string(1, text[at]) : unescape_whole(text.substr(at, length));
    at += std::max<std::size_t>(length, 1);
  }
  return result;
}

}  // namespace nabla
