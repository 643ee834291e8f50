#include "learner/actor_book.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

namespace nabla {

namespace {

constexpr std::size_t kMaxActors = 65536;

}  // namespace

void ActorBook::meet(const Hello& hello) {
  if (met_.size() >= kMaxActors) std::erase_if(met_, [this](const auto& entry) { return !actors_.contains(entry.first); });
  met_[hello.actor_id] = {hello.host, hello.pid};
}

void ActorBook::greet(const Hello& hello, double now) {
  if (actors_.size() >= kMaxActors)
    std::erase_if(actors_, [](const auto& entry) { return !entry.second.connected && !entry.second.has_worked; });
  meet(hello);
  hear(hello.actor_id, now);
}

ActorState& ActorBook::hear(const std::string& id, double now) {
  ActorState& actor = actors_[id];
  if (const auto met = met_.find(id); met != met_.end()) std::tie(actor.host, actor.pid) = met->second;
  if (!actor.connected) actor.moved_at = now;
  actor.connected = true;
  actor.gone_because.clear();
  actor.heard_at = now;
  return actor;
}

void ActorBook::ask_for_work(const std::string& id, double now) { hear(id, now).moved_at = now; }

void ActorBook::take(const Heartbeat& heartbeat, double now) {
  ActorState& actor = hear(heartbeat.actor_id, now);
  const Heartbeat& before = actor.heartbeat;
  const bool moves = heartbeat.stage != before.stage || heartbeat.steps_done != before.steps_done ||
                     heartbeat.ticket_id != before.ticket_id || heartbeat.version != before.version;
  if (moves) actor.moved_at = now;
  actor.heartbeat = heartbeat;
}

bool ActorBook::leave(const std::string& id, const std::string& why) {
  const auto found = actors_.find(id);
  if (found == actors_.end()) return false;
  found->second.connected = false;
  found->second.gone_because = why;
  return true;
}

std::optional<double> ActorBook::last_move() const {
  std::optional<double> last;
  for (const auto& [id, actor] : actors_) {
    if (actor.connected) last = std::max(last.value_or(actor.moved_at), actor.moved_at);
  }
  return last;
}

std::string ActorBook::describe(double now) const {
  std::string text;
  for (const auto& [id, actor] : actors_) {
    if (!actor.connected) continue;
    const std::string& stage = actor.heartbeat.stage;
    text += fmt::format("{}{} (process {} on {}): {} for {:.0f} s", text.empty() ? "" : ", ", id, actor.pid,
                        actor.host.empty() ? "?" : actor.host, stage.empty() ? "said nothing" : stage, now - actor.moved_at);
  }
  return text;
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
    status.gone_because = actor.gone_because;
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
