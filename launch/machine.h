#pragma once

#include <cstdint>
#include <string>

namespace nabla {

std::string name_of_this_machine();

// What this process may use of the machine: its own limits and those of its control group (a container), whichever are tighter.
double usable_cores();
std::uint64_t available_memory_bytes();
std::uint64_t open_file_limit();
// As far as this process may raise it itself: every connection is a file.
void raise_open_file_limit();

// Free bytes for us where `path` is, or would be made: of its nearest existing folder.
std::uint64_t free_disk_bytes(const std::string& path);
std::string nearest_existing_folder(const std::string& path);

}  // namespace nabla
