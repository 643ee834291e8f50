#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nabla {

// MessagePack written by hand, right or wrong: what a hostile peer sends.
namespace pack {

inline std::string big_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> (8 * i));
  return text;
}
// A format byte and what follows it. (operator+ of a literal and a string makes this compiler warn of an overlap that cannot be.)
inline std::string tagged(char format, const std::string& rest) {
  std::string bytes(1, format);
  bytes += rest;
  return bytes;
}
inline std::string number(std::uint64_t value) { return tagged('\xCF', big_endian(value, 8)); }
inline std::string negative(std::int64_t value) { return tagged('\xD3', big_endian(static_cast<std::uint64_t>(value), 8)); }
inline std::string real(double value) {
  std::uint64_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return tagged('\xCB', big_endian(bits, 8));
}
inline std::string text(const std::string& value) { return tagged('\xDB', big_endian(value.size(), 4)) + value; }
inline std::string array_of(std::uint64_t count) { return tagged('\xDD', big_endian(count, 4)); }
inline std::string map_of(std::uint64_t count) { return tagged('\xDF', big_endian(count, 4)); }
inline std::string array(const std::vector<std::string>& items) {
  std::string all = array_of(items.size());
  for (const auto& item : items) all += item;
  return all;
}
using Fields = std::vector<std::pair<std::string, std::string>>;  // names and packed values
inline std::string map(const Fields& fields) {
  std::string all = map_of(fields.size());
  for (const auto& [name, value] : fields) all += text(name) + value;
  return all;
}

}  // namespace pack

}  // namespace nabla
