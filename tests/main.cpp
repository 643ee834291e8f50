#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#if defined(__SANITIZE_THREAD__)
// libzmq is not instrumented, so memory that it hands from thread to thread looks raced for. A race of ours has no frame of it.
extern "C" const char* __tsan_default_suppressions() { return "race:libzmq.so\n"; }
#endif
