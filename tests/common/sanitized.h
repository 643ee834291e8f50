#pragma once

namespace nabla::testing {

// Sanitizers keep freed memory back: under them a process's memory says nothing.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace nabla::testing
