#pragma once

namespace nabla {

// Lets the process keep the memory of freed buffers of up to 32 MiB, 256 MiB in all, instead of giving it back at once. Tensors and records of a few MB come and
// go all the time, and pages that are given back have to be had and cleared anew for the next one, which costs more than copying into them. Once, in main().
void keep_freed_memory();

}  // namespace nabla
