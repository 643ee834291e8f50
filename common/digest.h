#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace nabla {

// XXH3-128 of a stream of bytes. Not a defence against forgery: it tells equal from unequal.
class Digest {
 public:
  Digest();
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  Digest& update(std::span<const std::byte> bytes);
  Digest& update(std::string_view text);
  // 32 lower-case hexadecimal digits of what was fed so far.
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Digest in one call.
std::string digest_hex(std::span<const std::byte> bytes);

}  // namespace nabla
