#pragma once

namespace nabla {

// Repeatable: deterministic algorithms where there are any (a GPU's operators without one warn, the CPU has all), none chosen by trying. Else convolutions try
// which is fastest for a shape, and float32 products on tensor cores may round to TF32, as the official release's do. The process's own setting.
void set_repeatable(bool repeatable);

}  // namespace nabla
