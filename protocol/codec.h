#pragma once

#include "protocol/messages.h"
#include "protocol/trajectory_log.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace nabla {

// Messages that only the two ends of a socket see.
struct TicketFailure {
  std::uint64_t ticket_id = 0;
  std::string reason;
};
struct SnapshotRequest {
  std::int64_t version = 0;
};
struct StatesRequest {
  std::int64_t slot = 0;
};
// Answer to a heartbeat: the learner lives, and the newest weights it has told of.
struct Alive {
  std::int64_t newest_version = 0;
  std::string newest_digest;
};
// A sentence for people: why a message was not read, or what its sender should do.
struct Notice {
  std::string text;
};
// What a sealed segment of the log says of itself.
struct SegmentSummary {
  std::uint64_t base_seq = 0, num_entries = 0, num_records = 0;
  std::int64_t min_version = -1, max_version = -1;  // of its records; -1: it has none
  std::string digest;                               // XXH3-128 of the file before the footer
  bool operator==(const SegmentSummary&) const = default;
};

struct CodecLimits {
  std::size_t max_bytes = std::size_t{1} << 20;
  std::size_t max_items = std::size_t{1} << 14;  // values of all kinds, keys included
};
inline constexpr CodecLimits kSnapshotLimits{std::size_t{4} << 20, std::size_t{1} << 17};
inline constexpr CodecLimits kTrainedLimits{std::size_t{4} << 20, std::size_t{1} << 17};

// A message in the one form that decode() takes back. data_error naming the field if a value is longer than its cap on the wire.
// Tensor bytes (EvaluationResult::data, Snapshot::data) are not part of it.
template <class Message>
Bytes encode(const Message& message);

// A reason as it may travel: valid UTF-8 of at most 4096 bytes.
std::string wire_text(std::string text);

struct DecodeStatus {
  bool ok = true;
  bool other_version = false;  // refused because the sender speaks another protocol version
  std::string reason;          // for people; names the field
};

// Reads a message of untrusted bytes: the fields of WIRE_FORMAT.md in their order, nothing else and nothing after them. Memory is bounded by the bytes at
// hand and by limits. Never throws for bad input; `message` is then half filled.
template <class Message>
DecodeStatus decode(std::span<const std::byte> bytes, Message& message, const CodecLimits& limits = {});

}  // namespace nabla
