#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#if defined(__SANITIZE_THREAD__)
// libzmq is not instrumented, so memory that it hands from thread to thread looks raced for. A race of ours has no frame of it. It writes addresses with
// string streams, whose frames hide its own; and old stacks are kept longer, since one that was lost cannot be recognised.
extern "C" const char* __tsan_default_suppressions() { return "race:libzmq.so\nrace:std::basic_streambuf\n"; }
extern "C" const char* __tsan_default_options() { return "history_size=7"; }
#endif
