#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace nabla {

// A file that appears whole or not at all: bytes go to "<path>.tmp.<pid>"; commit() makes them durable under `path` (fsync, rename, fsync of
// the folder). Destroyed without commit, it leaves the old file and no other trace. Every call throws failure() (exit 1) naming the file
// and the system's reason, a full disk among them.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path, unsigned mode = 0644);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void commit();

 private:
  std::string path_, temporary_path_;
  int descriptor_ = -1;
};

// A folder that appears whole or not at all: it is filled at temporary_path(), which is `path` with `ending` behind it, and commit() gives it its name
// (rename, sync of the folder around it). Destroyed without commit, it is gone. Slashes at the end of `path` do not count. failure() where something is at
// temporary_path() already, the folder around it is missing, or the system refuses.
class AtomicFolder {
 public:
  AtomicFolder(const std::string& path, const std::string& ending);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  const std::string& temporary_path() const { return temporary_path_; }
  void commit();

 private:
  std::string path_, temporary_path_;
  bool committed_ = false;
};

// A folder's path with its name at the end, where "out/" and "out/." have nothing: an ending can be put behind it.
std::string bare_path(const std::string& folder);

// AtomicFile in one call.
void write_file(const std::string& path, std::string_view content);
// The same for a secret: readable by its owner alone (0600) from the first byte on.
void write_private_file(const std::string& path, std::string_view content);

// The whole file. data_error if it is missing, is no regular file, cannot be read or is longer than max_bytes.
std::string read_file(const std::string& path, std::size_t max_bytes);

// Writes all bytes to a descriptor, whatever the signals and short writes. failure() naming `path`.
void write_all(int descriptor, std::span<const std::byte> bytes, const std::string& path);
// Makes the entries of a folder durable.
void sync_folder(const std::string& folder);

// Eight random hexadecimal digits, of the kernel's random numbers and not of a run's seed.
std::string make_short_id();
// "20260131-142500-1a2b3c4d": local time and a short id; unique for all practical purposes.
std::string make_run_id();

}  // namespace nabla
