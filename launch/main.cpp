#include "common/heap.h"
#include "launch/application.h"

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  nabla::keep_freed_memory();
  const int code = nabla::run_application(argc, argv);
  // Everything is written by now. Unloading LibTorch's libraries would only read gigabytes of them from a cold disk, for 10 s and more.
  std::fflush(nullptr);
  std::_Exit(code);
}
