#pragma once

#include "protocol/segment_files.h"
#include "protocol/segment_footer.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nabla {

struct ScannedBlock {
  FoundBlock block;
  std::uint64_t offset = 0;
};

// A run of bytes that holds no entry, and the numbers that are missing for it.
struct ScanFault {
  std::uint64_t begin = 0, end = 0;  // bytes of the file
  std::uint64_t first_seq = 0,
                end_seq = 0;  // missing numbers, end_seq not among them; at the end of a file as many as are known to have stood there
  std::string reason;
  bool torn = false;  // what a write that was cut off leaves; no damage at the end of a log
};

// All that can be read of a segment.
struct SegmentScan {
  std::vector<ScannedBlock> entries;  // good ones, in order; the footer is none
  std::optional<Footer> footer;
  std::vector<ScanFault> faults;
  std::uint64_t next_seq = 0;  // the number behind the last entry or fault
  std::uint64_t end = 0;       // where the last good entry ends
};

// Reads a segment from its first block on. After damage it goes on with the next good entry: by the footer's index, else by looking for a block's header.
// `end_seq` is the number that the next segment begins with: what stands behind it here was written again there. The segment's header is not looked at.
SegmentScan scan_segment(std::span<const std::byte> file, std::uint64_t base_seq, std::uint64_t end_seq = kNoEnd);

}  // namespace nabla
