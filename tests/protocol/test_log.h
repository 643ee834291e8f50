#pragma once

#include "protocol/trajectory_log.h"
#include "tests/common/temporary_folder.h"
#include "tests/protocol/sample_record.h"
#include "tests/testing.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

namespace nabla {

inline const LogHeader kLogHeader{"20260131-142500-1a2b3c4d", "contract", "seed: 1\n"};

using FileBytes = std::vector<char>;

inline FileBytes load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// In place: some file systems write a file that was emptied first to the disk at once.
inline void store(const std::string& path, const FileBytes& bytes) {
  if (!std::filesystem::exists(path)) std::ofstream(path, std::ios::binary).flush();
  std::fstream(path, std::ios::binary | std::ios::in | std::ios::out).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  std::filesystem::resize_file(path, bytes.size());
}

inline std::vector<std::string> files_of(const std::string& folder, const std::string& extension) {
  std::vector<std::string> paths;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() == extension) paths.push_back(file.path().string());
  }
  std::ranges::sort(paths);
  return paths;
}

inline std::unique_ptr<TrajectoryLog> make_log(const std::string& folder, std::uint64_t segment_bytes = std::uint64_t{1} << 30,
                                               Durability durability = Durability::kPageCache, const LogHeader& header = kLogHeader) {
  return TrajectoryLog::create({folder, durability, segment_bytes}, header);
}

// A closed log of `records` records, slots from 0 on.
inline void write_log(const std::string& folder, std::int64_t records, std::uint64_t segment_bytes = std::uint64_t{1} << 30,
                      const LogHeader& header = kLogHeader) {
  const auto log = make_log(folder, segment_bytes, Durability::kPageCache, header);
  for (std::int64_t slot = 0; slot < records; ++slot) log->append(sample_record(slot));
  log->close();
}

inline std::int64_t slot_of(const LogEntry& entry) {
  const DecodeResult result = decode_record(std::get<EncodedRecord>(entry), {});
  REQUIRE(result.reject == Reject::kNone);
  return result.record.header.slot;
}

// Slots of the records of a log, in order.
inline std::vector<std::int64_t> slots_of(const std::string& folder, std::size_t warnings = 0) {
  TrajectoryLogReader reader(folder);
  std::vector<std::int64_t> slots;
  while (const auto entry = reader.next()) {
    if (std::holds_alternative<EncodedRecord>(*entry)) slots.push_back(slot_of(*entry));
  }
  CHECK(reader.warnings().size() == warnings);
  return slots;
}

// 0, 1, ... count - 1.
inline std::vector<std::int64_t> first_slots(std::int64_t count) {
  std::vector<std::int64_t> slots(static_cast<std::size_t>(count));
  std::iota(slots.begin(), slots.end(), 0);
  return slots;
}

}  // namespace nabla
