#pragma once

#include "protocol/codec.h"

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace nabla {

// The fields of every message, once: the encoder, the decoder and the log's schema digest walk these lists. The order is the order on the wire.
// visit(name, value, cap): cap bounds the bytes of a string or the elements of a list or map.

inline constexpr std::size_t kMaxId = 256;     // identifiers, digests, names
inline constexpr std::size_t kMaxText = 4096;  // prompts, reasons
inline constexpr std::size_t kMaxConfig = 512 * 1024;
inline constexpr std::size_t kMaxTensors = 8192;
inline constexpr std::size_t kMaxRows = 4096;  // transitions, slots, pictures
inline constexpr std::size_t kMaxSmallMap = 256;

constexpr TicketKind last_value(TicketKind) { return TicketKind::kEvaluate; }
constexpr DType last_value(DType) { return DType::kF64; }
constexpr Reject last_value(Reject) { return Reject::kNondeterministicActor; }
constexpr WorkState last_value(WorkState) { return WorkState::kFinished; }

template <class T, class M>
concept Of = std::same_as<std::remove_const_t<T>, M>;

template <class V>
void describe(V& visit, Of<TensorEntry> auto& m) {
  visit("name", m.name, kMaxId);
  visit("dtype", m.dtype);
  visit("shape", m.shape, 64);  // the table's own check says which number of dimensions is allowed
  visit("offset", m.offset);
  visit("size", m.size);
}

template <class V>
void describe(V& visit, Of<SlotOrder> auto& m) {
  visit("slot", m.slot);
  visit("prompt_index", m.prompt_index);
  visit("prompt", m.prompt, kMaxText);
  visit("seed", m.seed);
  visit("transitions", m.transitions, kMaxRows);
}

template <class V>
void describe(V& visit, Of<Ticket> auto& m) {
  visit("id", m.id);
  visit("kind", m.kind);
  visit("update", m.update);
  visit("version", m.version);
  visit("exact_version", m.exact_version);
  visit("attempt", m.attempt);
  visit("owner", m.owner, kMaxId);
  visit("slots", m.slots, kMaxRows);
}

template <class V>
void describe(V& visit, Of<TransitionRef> auto& m) {
  visit("step", m.step);
  visit("timestep", m.timestep);
  visit("next_timestep", m.next_timestep);
}

template <class V>
void describe(V& visit, Of<RecordHeader> auto& m) {
  visit("protocol_version", m.protocol_version);
  visit("kind", m.kind);
  visit("run_id", m.run_id, kMaxId);
  visit("slot", m.slot);
  visit("update", m.update);
  visit("ticket_id", m.ticket_id);
  visit("actor_id", m.actor_id, kMaxId);
  visit("version", m.version);
  visit("digest", m.digest, kMaxId);
  visit("prompt_index", m.prompt_index);
  visit("prompt", m.prompt, kMaxText);
  visit("token_ids", m.token_ids, 1024);
  visit("seed", m.seed);
  visit("step_table_id", m.step_table_id, kMaxId);
  visit("transitions", m.transitions, kMaxRows);
  visit("reward", m.reward);
  visit("reward_components", m.reward_components, 64);
  visit("reward_spec", m.reward_spec, kMaxText);
  visit("gradient_kind", m.gradient_kind, kMaxId);
  visit("tensors", m.tensors, 64);
}

template <class V>
void describe(V& visit, Of<Hello> auto& m) {
  visit("protocol_version", m.protocol_version);
  visit("actor_id", m.actor_id, kMaxId);
  visit("host", m.host, kMaxId);
  visit("pid", m.pid);
  visit("base_digest", m.base_digest, kMaxId);
}

template <class V>
void describe(V& visit, Of<Welcome> auto& m) {
  visit("run_id", m.run_id, kMaxId);
  visit("config", m.config, kMaxConfig);
  visit("base_digest", m.base_digest, kMaxId);
  visit("step_table_id", m.step_table_id, kMaxId);
  visit("weights_endpoint", m.weights_endpoint, kMaxId);
  visit("newest_version", m.newest_version);
}

template <class V>
void describe(V& visit, Of<Refusal> auto& m) {
  visit("reason", m.reason, kMaxText);
  visit("exit_code", m.exit_code);
}

template <class V>
void describe(V& visit, Of<Heartbeat> auto& m) {
  visit("actor_id", m.actor_id, kMaxId);
  visit("ticket_id", m.ticket_id);
  visit("stage", m.stage, kMaxId);
  visit("steps_done", m.steps_done);
  visit("version", m.version);
  visit("digest", m.digest, kMaxId);
  visit("peak_rss_bytes", m.peak_rss_bytes);
  visit("stage_seconds", m.stage_seconds, kMaxSmallMap);
  visit("counters", m.counters, kMaxSmallMap);
}

template <class V>
void describe(V& visit, Of<EvaluationResult> auto& m) {
  visit("ticket_id", m.ticket_id);
  visit("version", m.version);
  visit("digest", m.digest, kMaxId);
  visit("actor_id", m.actor_id, kMaxId);
  visit("pictures", m.pictures, kMaxRows);
  visit("prompts", m.prompts, kMaxRows);
  visit("table", m.table, 64);
}

template <class V>
void describe(V& visit, Of<Ack> auto& m) {
  visit("ticket_id", m.ticket_id);
  visit("slot", m.slot);
  visit("reject", m.reject);
  visit("reason", m.reason, kMaxText);
  visit("newest_version", m.newest_version);
  visit("newest_digest", m.newest_digest, kMaxId);
}

template <class V>
void describe(V& visit, Of<Work> auto& m) {
  visit("state", m.state);
  visit("ticket", m.ticket);
  visit("wait_reason", m.wait_reason, kMaxText);
  visit("newest_version", m.newest_version);
}

template <class V>
void describe(V& visit, Of<Snapshot> auto& m) {
  visit("version", m.version);
  visit("digest", m.digest, kMaxId);
  visit("base_digest", m.base_digest, kMaxId);
  visit("table", m.table, kMaxTensors);
}

template <class V>
void describe(V& visit, Of<TicketFailure> auto& m) {
  visit("ticket_id", m.ticket_id);
  visit("reason", m.reason, kMaxText);
}

template <class V>
void describe(V& visit, Of<SnapshotRequest> auto& m) {
  visit("version", m.version);
}

template <class V>
void describe(V& visit, Of<StatesRequest> auto& m) {
  visit("slot", m.slot);
}

template <class V>
void describe(V& visit, Of<SlotStates> auto& m) {
  visit("slot", m.slot);
  visit("table", m.table, 64);
}

template <class V>
void describe(V& visit, Of<Alive> auto& m) {
  visit("newest_version", m.newest_version);
  visit("newest_digest", m.newest_digest, kMaxId);
}

template <class V>
void describe(V& visit, Of<Notice> auto& m) {
  visit("text", m.text, kMaxText);
}

template <class V>
void describe(V& visit, Of<PublishEntry> auto& m) {
  visit("version", m.version);
  visit("digest", m.digest, kMaxId);
}

template <class V>
void describe(V& visit, Of<DiscardEntry> auto& m) {
  visit("slot", m.slot);
  visit("update", m.update);
  visit("reason", m.reason, kMaxText);
}

template <class V>
void describe(V& visit, Of<TrainedEntry> auto& m) {
  visit("update", m.update);
  visit("slots", m.slots, std::size_t{1} << 16);
}

template <class V>
void describe(V& visit, Of<SegmentSummary> auto& m) {
  visit("base_seq", m.base_seq);
  visit("num_entries", m.num_entries);
  visit("num_records", m.num_records);
  visit("min_version", m.min_version);
  visit("max_version", m.max_version);
  visit("digest", m.digest, kMaxId);
}

}  // namespace nabla
