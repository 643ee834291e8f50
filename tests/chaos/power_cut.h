#pragma once

#include <string>

namespace nabla::chaos {

// Leaves of a folder's segments what a machine that loses its power would: the files that the folder had when it was last synced, with the bytes that they had
// when they were; bytes that a failed sync lost are zeros. `notes` is what disk_shim.cpp wrote down.
void cut_power(const std::string& folder, const std::string& notes);

}  // namespace nabla::chaos
