#pragma once

#include "common/digest.h"
#include "common/error.h"
#include "protocol/log_entry.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace nabla {

// A write or sync of a segment that failed. A full disk is full for other files too; after other faults a new file may fare better.
class SegmentError : public Error {
 public:
  SegmentError(const Error& error, int code) : Error(error), system_code(code) {}
  bool is_full_disk() const;
  int system_code;
};

// One segment that is being written: blocks behind one another, then the footer. Not thread safe. What throws, throws SegmentError naming the file.
class SegmentWriter {
 public:
  // Makes the file with its header; it is gone again if that fails.
  static std::unique_ptr<SegmentWriter> create(const std::string& folder, const std::string& run_id, std::uint64_t base_seq,
                                               Durability durability);
  // Goes on behind the entries of `kept`, whose footer offset is the end of the last one: the file is cut there.
  static std::unique_ptr<SegmentWriter> reopen(const std::string& path, const Footer& kept, Durability durability);
  ~SegmentWriter();  // an unsealed segment stays as it is
  SegmentWriter(const SegmentWriter&) = delete;
  SegmentWriter& operator=(const SegmentWriter&) = delete;

  // Writes entries in one go, gives them their numbers and, at fsync durability, makes them durable. After an error none of them counts.
  void write(std::span<EntryBlock* const> entries);
  // Appends the footer and, but at memory durability, makes the whole file durable.
  // What an error of either left is cut off, as far as the disk allows it; a reader takes the rest as a torn tail.
  void seal();

  const std::string& path() const { return path_; }
  std::uint64_t next_seq() const { return summary_.base_seq + summary_.num_entries; }
  std::uint64_t num_entries() const { return summary_.num_entries; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  SegmentWriter(std::string path, int descriptor, Durability durability);
  void write_header(const std::string& run_id, std::uint64_t base_seq);
  void append(const std::vector<std::span<const std::byte>>& pieces, Durability least_synced);
  void write_pieces(std::vector<std::span<const std::byte>> pieces);
  void cut_back();
  SegmentError error(int code) const;

  const std::string path_;
  const int descriptor_;
  const Durability durability_;
  std::uint64_t bytes_ = 0;  // written and kept
  Digest digest_;            // of those
  SegmentSummary summary_;
  std::vector<IndexEntry> index_;
};

}  // namespace nabla
