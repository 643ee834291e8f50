#pragma once

#include "learner/learner.h"
#include "protocol/ticket.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nabla {

struct ActorStatus {
  std::string id, host;
  std::int64_t pid = 0;
  bool connected = false;
  std::string gone_because;  // empty while connected
  double heard_s = 0;        // since its last message
  std::string stage;         // as in its heartbeats
  std::int64_t steps_done = 0, version = -1;
  std::uint64_t ticket_id = 0, peak_rss_bytes = 0;        // ticket 0: none
  std::int64_t records = 0, rejected = 0, malformed = 0;  // messages of its id since the start of the run
  std::map<std::string, double> stage_seconds;
};

struct TicketHolder {
  std::string actor;
  double held_s = 0, idle_s = 0;  // since it got the ticket, since it last showed progress
};

// A ticket that waits for somebody.
struct TicketStatus {
  std::uint64_t id = 0;
  TicketKind kind = TicketKind::kSample;
  std::int64_t update = 0, version = 0, missing = 0, failures = 0;  // missing: slots, or pictures of an evaluation
  std::vector<TicketHolder> holders;                                // none: no actor has it
};

// How a live run stands. Tickets, queue and ledger are of one moment, so the ledger adds up.
struct FleetStatus {
  std::string run_id, waiting_for;  // empty while the learner computes
  double wall_s = 0, drift = 0;     // drift as in EvaluationSummary, of the newest published version
  std::int64_t updates_done = 0, updates_wanted = 0, newest_version = 0;
  std::int64_t last_checkpoint = -1;  // the update that it goes on with; -1: there is none
  std::vector<ActorStatus> actors;
  std::vector<TicketStatus> tickets;
  std::map<std::int64_t, std::int64_t> lags;    // trained trajectories by policy lag
  double records_per_s = 0, images_per_s = 0;   // of the last minute; images: trajectories and pictures of evaluations
  std::map<std::string, std::int64_t> rejects;  // by reason
  std::int64_t duplicates = 0, failed_attempts = 0, queue_slots = 0;  // attempts: at tickets, of all actors
  std::uint64_t queue_bytes = 0, peak_rss_bytes = 0;
  LedgerSummary ledger;
  std::map<std::string, std::int64_t> messages;  // FleetServer::counters() but for those of each actor
  std::map<std::string, double> stage_seconds;   // of the learner
};

}  // namespace nabla
