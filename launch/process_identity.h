#pragma once

#include <cstdint>
#include <string>

namespace nabla {

// What tells a process of this machine from a later one that was given the same number: the boot and the clock tick of its start. Empty for one that is
// not here, or has ended and only waits to be reaped.
std::string birth_of(std::int64_t pid);

// Whether the process of that number and birth still lives. Where the birth is not known (a file of an earlier version) the number alone decides.
bool is_same_process(std::int64_t pid, const std::string& birth);

}  // namespace nabla
