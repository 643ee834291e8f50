#pragma once

#include <cstdint>

namespace nabla {

// The most memory this process ever had at once.
std::uint64_t peak_resident_bytes();

// What it has now.
std::int64_t resident_bytes();

// Lets the process keep the memory of freed buffers of up to 32 MiB, 256 MiB in all, instead of giving it back at once. Tensors and records of a few MB come and
// go all the time, and pages that are given back have to be had and cleared anew for the next one, which costs more than copying into them. Once, in main().
void keep_freed_memory();

}  // namespace nabla
