#include "common/dtype.h"

#include "common/error.h"

#include <array>

namespace nabla {

namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  std::size_t size;
};

// In the order of the enumeration's values.
constexpr std::array<DTypeRow, 10> kDTypes{{{DType::kBool, "BOOL", 1},
                                            {DType::kU8, "U8", 1},
                                            {DType::kI8, "I8", 1},
                                            {DType::kI16, "I16", 2},
                                            {DType::kI32, "I32", 4},
                                            {DType::kI64, "I64", 8},
                                            {DType::kF16, "F16", 2},
                                            {DType::kBF16, "BF16", 2},
                                            {DType::kF32, "F32", 4},
                                            {DType::kF64, "F64", 8}}};

const DTypeRow& row_of(DType dtype) {
  const auto value = static_cast<std::size_t>(dtype);
  if (value >= kDTypes.size()) throw data_error("[dtype] {} is no element type; the values end at {}", value, kDTypes.size() - 1);
  return kDTypes[value];
}

}  // namespace

std::size_t byte_size(DType dtype) { return row_of(dtype).size; }

std::string_view name_of(DType dtype) { return row_of(dtype).name; }

DType dtype_from_name(std::string_view name) {
  for (const DTypeRow& row : kDTypes) {
    if (row.name == name) return row.dtype;
  }
  throw data_error("[dtype] element type '{}' is not supported; convert to one of BOOL, U8, I8, I16, I32, I64, F16, BF16, F32, F64", name);
}

}  // namespace nabla
