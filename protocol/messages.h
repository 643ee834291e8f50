#pragma once

#include "protocol/record.h"
#include "protocol/slot_states.h"
#include "protocol/snapshot.h"
#include "protocol/ticket.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace nabla {

// First message of an actor. Everything that must agree is compared here, and both values are shown when it does not.
struct Hello {
  std::uint32_t protocol_version = kProtocolVersion;
  std::string actor_id, host;
  std::int64_t pid = 0;
  std::string base_digest;          // empty in the first of two hellos: the actor asks for the configuration first
};

struct Welcome {
  std::string run_id;
  std::string config;               // effective configuration of the run, as YAML
  std::string base_digest, step_table_id;
  std::string weights_endpoint;
  std::int64_t newest_version = 0;
};

// Refusal of a peer, with the exit code the actor should end with.
struct Refusal {
  std::string reason;
  std::int32_t exit_code = 4;
};

struct Heartbeat {
  std::string actor_id;
  std::uint64_t ticket_id = 0;      // 0: idle
  std::string stage;                // "sampling", "reference", "reward_gradient", "waiting", ...
  std::int64_t steps_done = 0;      // grows while there is progress
  std::int64_t version = -1;        // installed weights
  std::string digest;
  std::uint64_t peak_rss_bytes = 0;
  std::map<std::string, double> stage_seconds;  // totals since the start
  std::map<std::string, std::int64_t> counters; // network evaluations since the start
};

// Result of an evaluation ticket; tensors per picture: "reward" [N], "true_reward" [N] (where there is one), "shape_correct", "color_correct",
// "count_correct" [N] u8 and "features" [N,F] (where a checker exists), "image" [N,3,H,W] u8.
struct EvaluationResult {
  std::uint64_t ticket_id = 0;
  std::int64_t version = 0;
  std::string digest, actor_id;
  std::vector<std::int64_t> pictures;
  std::vector<std::string> prompts;
  std::vector<TensorEntry> table;
  Bytes data;
};

struct Ack {
  std::uint64_t ticket_id = 0;
  std::int64_t slot = 0;
  Reject reject = Reject::kNone;    // kNone: appended to the log; kDuplicate: somebody was first, also fine
  std::string reason;
  std::int64_t newest_version = 0;
  std::string newest_digest;
};

// Answer to a ticket request when there is a ticket, nothing yet, or no more work at all.
enum class WorkState : std::uint8_t { kTicket = 0, kWait = 1, kFinished = 2 };
struct Work {
  WorkState state = WorkState::kWait;
  std::optional<Ticket> ticket;
  std::string wait_reason;          // whom the fleet waits for
  std::int64_t newest_version = 0;
};

}  // namespace nabla
