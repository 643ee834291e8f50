#include "common/dtype.h"
#include "tests/common/error_check.h"

namespace nabla {

TEST_CASE("every element type has its name and its size") {
  for (const char* name : {"BOOL", "U8", "I8", "I16", "I32", "I64", "F16", "BF16", "F32", "F64"}) {
    CHECK(name_of(dtype_from_name(name)) == name);
  }
  CHECK(byte_size(DType::kBool) == 1);
  CHECK(byte_size(DType::kBF16) == 2);
  CHECK(byte_size(DType::kF32) == 4);
  CHECK(byte_size(DType::kI64) == 8);
}

TEST_CASE("an element type outside the list is refused by name") {
  check_error(
      ExitCode::kData, [] { dtype_from_name("F8_E4M3"); }, "F8_E4M3", "BF16");
  check_error(
      ExitCode::kData, [] { byte_size(static_cast<DType>(200)); }, "200");
}

}  // namespace nabla
