#include "common/digest.h"

#include "common/error.h"

#include <xxhash.h>

namespace nabla {

struct Digest::State {
  State() : hash(XXH3_createState()) {
    if (hash == nullptr || XXH3_128bits_reset(hash) == XXH_ERROR) throw failure("[digest] no memory for a hash state");
  }
  ~State() { XXH3_freeState(hash); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  XXH3_state_t* hash;
};

Digest::Digest() : state_(std::make_unique<State>()) {}
Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

Digest& Digest::update(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->hash, bytes.data(), bytes.size());
  return *this;
}

Digest& Digest::update(std::string_view text) { return update(std::as_bytes(std::span(text.data(), text.size()))); }

std::string Digest::hex() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_->hash);
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string digest_hex(std::span<const std::byte> bytes) { return Digest().update(bytes).hex(); }

}  // namespace nabla
