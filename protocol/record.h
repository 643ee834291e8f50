#pragma once

#include "protocol/tensor_table.h"
#include "protocol/ticket.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nabla {

inline constexpr std::uint32_t kProtocolVersion = 1;

struct TransitionRef {
  std::int32_t step = 0;            // index in the step table
  std::int64_t timestep = 0, next_timestep = 0;
};

// Header of one trajectory on the wire and in the log. Identity: (run_id, slot, kind).
struct RecordHeader {
  std::uint32_t protocol_version = kProtocolVersion;
  TicketKind kind = TicketKind::kSample;
  std::string run_id;
  std::int64_t slot = 0, update = 0;
  std::uint64_t ticket_id = 0;
  std::string actor_id;
  std::int64_t version = 0;         // weight version that sampled it
  std::string digest;               // of the LoRA tensors read back from the actor's module
  std::int64_t prompt_index = 0;
  std::string prompt;
  std::vector<std::int64_t> token_ids;
  std::uint64_t seed = 0;
  std::string step_table_id;
  std::vector<TransitionRef> transitions;  // K rows; the terminal transition last
  double reward = 0.0;
  std::map<std::string, double> reward_components;
  std::string reward_spec;
  std::string gradient_kind;        // policy_fl | reference_fl | terminal | lean_adjoint; none: no reward gradient
  std::vector<TensorEntry> tensors; // names and meanings: see WIRE_FORMAT.md
};

// A record as it travels and as it is stored: two frames with a CRC32C each, made by the actor.
struct EncodedRecord {
  Bytes header;                     // MessagePack
  Bytes data;                       // tensors, 64-byte aligned
  std::uint32_t header_crc32c = 0, data_crc32c = 0;
};

// A decoded record; tensor bytes are views of `encoded.data`.
struct TrajectoryRecord {
  RecordHeader header;
  EncodedRecord encoded;
  // Bytes of one tensor; nullptr entry if absent.
  const TensorEntry* find(const std::string& name) const;
  std::span<const std::byte> bytes(const TensorEntry& entry) const;
};

// The record as it travels; header.tensors is set from `tensors`, whose bytes are shared and not copied. data_error naming the field if a text or list is
// longer than the wire allows.
EncodedRecord encode_record(RecordHeader header, const PackedTensors& tensors);

// Why a record is refused; names are the reason codes of counters and acks.
enum class Reject : std::uint8_t {
  kNone = 0, kTooLarge, kBadHeader, kVersionMismatch, kUnknownRun, kUnknownSlot, kUnknownTicket, kBadTensor, kUnknownVersion, kBadDigest,
  kBadChecksum, kNonFinite, kBadTransitions, kDuplicate, kNondeterministicActor,
};
std::string_view name_of(Reject reject);

struct RecordLimits {
  std::size_t max_header_bytes = 64 * 1024;
  std::size_t max_data_bytes = std::size_t{1} << 30;
  bool check_crc = true;
  bool check_finite = true;
};

// The bounded, structural half of validation, the same for live and replayed records: sizes, MessagePack limits, schema, transitions, tensor table,
// CRC32C, finite values, in this order. Nothing is allocated beyond the bytes at hand; never throws for bad input.
struct DecodeResult {
  Reject reject = Reject::kNone;
  std::string reason;               // for people; names the field
  TrajectoryRecord record;          // valid when reject == kNone
};
DecodeResult decode_record(const EncodedRecord& encoded, const RecordLimits& limits);

}  // namespace nabla
