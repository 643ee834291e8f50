#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace nabla {

// RUN/checkpoints/update-000120: everything to go on with update 120. A folder is there whole or not at all: it is filled under another name, each file is
// synced, COMPLETE with the size and the digest of each file comes last, then the folder gets its name.

// Writes one file at the path, durably (AtomicFile, write_safetensors, write_json).
using FileMaker = std::function<void(const std::string& path)>;

struct CheckpointPlace {
  std::int64_t next_update = 0;
  std::string path;
};

std::string checkpoint_name(std::int64_t next_update);
// Of a folder's checkpoints, whole or not, oldest first; none where there is no folder.
std::vector<CheckpointPlace> find_checkpoints(const std::string& folder);

// Makes folder/update-NNNNNN of these files, and the folder around it. One of that name is replaced. failure naming the file, a full disk among the reasons.
void write_checkpoint_folder(const std::string& folder, std::int64_t next_update, const std::map<std::string, FileMaker>& files);

// data_error naming the file and what to do, unless the folder is complete and each of its files is what was written.
void verify_checkpoint_folder(const std::string& path);

// What stays besides the newest.
struct KeepRule {
  std::int64_t newest = 2;     // so many
  std::int64_t multiples = 0;  // updates that are multiples of it; 0: none
};
// Removes the rest, and what writers that were killed left unfinished. `best` stays whatever its number; -1: none is.
void remove_old_checkpoints(const std::string& folder, const KeepRule& keep, std::int64_t best);

// Gives a checkpoint that cannot be used another name, so that it is not found again.
void set_checkpoint_aside(const CheckpointPlace& place);

}  // namespace nabla
