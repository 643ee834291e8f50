#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>

namespace nabla {

// The entries of a zip archive by name, as views of `archive`. Only what torch.save writes is read: one disk, entries stored without compression or
// encryption, zip64 where sizes ask for it. data_error naming `source` and the entry for everything else: cut files, entries that overlap or leave the
// file, names that stand twice. Nothing is allocated but the table of entries.
std::map<std::string, std::span<const std::byte>> read_stored_zip(std::span<const std::byte> archive, const std::string& source);

// Whether bytes begin as a zip archive does.
bool begins_as_zip(std::span<const std::byte> bytes);

}  // namespace nabla
