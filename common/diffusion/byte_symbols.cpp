#include "common/diffusion/byte_symbols.h"

namespace nabla {

namespace {

bool stands_for_itself(int byte) { return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174; }

// UTF-8 of a code point below U+0800.
std::string utf8_of(int code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

std::array<std::string, 256> make_symbols() {
  std::array<std::string, 256> symbols;
  int others = 0;
  for (int byte = 0; byte < 256; ++byte)
    symbols[static_cast<std::size_t>(byte)] = utf8_of(stands_for_itself(byte) ? byte : 0x100 + others++);
  return symbols;
}

}  // namespace

const std::array<std::string, 256>& byte_symbols() {
  static const std::array<std::string, 256> symbols = make_symbols();
  return symbols;
}

std::vector<std::string> byte_symbols_in_vocabulary_order() {
  std::vector<std::string> ordered;
  for (const bool own : {true, false}) {
    for (int byte = 0; byte < 256; ++byte) {
      if (stands_for_itself(byte) == own) ordered.push_back(byte_symbols()[static_cast<std::size_t>(byte)]);
    }
  }
  return ordered;
}

}  // namespace nabla
