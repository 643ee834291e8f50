#pragma once

// The only way to doctest. c10 defines CHECK and its family too, and its CHECK aborts the process; so torch comes first, where a test uses
// it, and its macros go.
#ifdef NABLA_TESTS_WITH_TORCH
#include <torch/types.h>
#endif
#undef CHECK
#undef CHECK_EQ
#undef CHECK_NE
#undef CHECK_LE
#undef CHECK_LT
#undef CHECK_GE
#undef CHECK_GT
#include <doctest/doctest.h>
