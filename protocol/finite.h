#pragma once

#include "common/dtype.h"

#include <cstddef>
#include <span>

namespace nabla {

// Whether no element is an infinity or not a number; integers always are finite. bytes: whole elements, any alignment.
bool all_finite(DType dtype, std::span<const std::byte> bytes);

}  // namespace nabla
