#include "common/heap.h"
#include "launch/application.h"

int main(int argc, char** argv) {
  nabla::keep_freed_memory();
  return nabla::run_application(argc, argv);
}
