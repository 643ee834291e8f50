#include "common/digest.h"
#include "tests/testing.h"

#include <string>

namespace nabla {

TEST_CASE("the digest is XXH3-128 in the canonical spelling") {
  CHECK(Digest().hex() == "99aa06d3014798d86001c324468d497f");  // xxhash's published value for no input
}

TEST_CASE("a digest does not depend on how the bytes were cut") {
  const std::string text(1000, 'x');
  const std::string whole = Digest().update(text).hex();
  CHECK(Digest().update(text.substr(0, 333)).update(text.substr(333)).hex() == whole);
  CHECK(digest_hex(std::as_bytes(std::span(text))) == whole);
  CHECK(Digest().update(text + "y").hex() != whole);
}

}  // namespace nabla
