#pragma once

#include "protocol/segment_footer.h"
#include "protocol/trajectory_log.h"

#include <memory>
#include <optional>
#include <string>

namespace nabla {

// An entry on its way into a segment; its number and offset are those of the segment that takes it.
struct EntryBlock {
  Block block;
  IndexEntry index;
};

// data_error for a record whose header cannot be read: it was not validated.
EntryBlock block_of(const LogEntry& entry);

// The entry of a good block; records are views that keep `owner` alive. Nothing: `fault` says why it is none.
struct EntryOfBlock {
  std::optional<LogEntry> entry;
  std::string fault;
};
EntryOfBlock entry_of(const FoundBlock& block, const std::shared_ptr<const void>& owner);

// What an index says of an entry; `header` is that of a record, `place` says where the entry stands.
IndexEntry index_of(const LogEntry& entry, const RecordHeader& header, IndexEntry place);
// The same of the block at `offset`. Nothing where it holds no entry that can be read.
std::optional<IndexEntry> index_of(const FoundBlock& block, std::uint64_t offset);

}  // namespace nabla
