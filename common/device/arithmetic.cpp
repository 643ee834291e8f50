#include "common/device/arithmetic.h"

#include "common/device/device.h"

#include <ATen/Context.h>

namespace nabla {

void set_repeatable(bool repeatable) {
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(repeatable, cuda_devices().count > 0);
  context.setBenchmarkCuDNN(!repeatable);
  context.setAllowTF32CuBLAS(!repeatable);
  context.setAllowTF32CuDNN(!repeatable);
}

}  // namespace nabla
