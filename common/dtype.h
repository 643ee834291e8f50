#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace nabla {

// Element types that travel on the wire and stand in safetensors files; the values are wire constants.
enum class DType : std::uint8_t { kBool = 0, kU8 = 1, kI8 = 2, kI16 = 3, kI32 = 4, kI64 = 5, kF16 = 6, kBF16 = 7, kF32 = 8, kF64 = 9 };

std::size_t byte_size(DType dtype);
// safetensors spelling: "BOOL", "U8", ..., "BF16", "F32".
std::string_view name_of(DType dtype);
// Throws data_error on a name that is unknown or not supported.
DType dtype_from_name(std::string_view name);

}  // namespace nabla
