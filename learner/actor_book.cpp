#include "learner/actor_book.h"

#include <algorithm>

namespace nabla {

void ActorBook::greet(const Hello& hello, double now) {
  ActorState& actor = hear(hello.actor_id, now);
  actor.host = hello.host;
  actor.pid = hello.pid;
}

ActorState& ActorBook::hear(const std::string& id, double now) {
  ActorState& actor = actors_[id];
  actor.connected = true;
  actor.heard_at = now;
  return actor;
}

bool ActorBook::leave(const std::string& id) {
  const auto found = actors_.find(id);
  if (found == actors_.end()) return false;
  found->second.connected = false;
  return true;
}

std::size_t ActorBook::num_connected() const {
  return static_cast<std::size_t>(std::ranges::count_if(actors_, [](const auto& entry) { return entry.second.connected; }));
}

std::vector<ActorStatus> ActorBook::status(double now) const {
  std::vector<ActorStatus> all;
  for (const auto& [id, actor] : actors_) {
    const Heartbeat& beat = actor.heartbeat;
    ActorStatus status;
    status.id = id;
    status.host = actor.host;
    status.pid = actor.pid;
    status.connected = actor.connected;
    status.heard_s = now - actor.heard_at;
    status.stage = beat.stage;
    status.steps_done = beat.steps_done;
    status.version = beat.version;
    status.ticket_id = beat.ticket_id;
    status.peak_rss_bytes = beat.peak_rss_bytes;
    status.stage_seconds = beat.stage_seconds;
    all.push_back(std::move(status));
  }
  return all;
}

}  // namespace nabla
