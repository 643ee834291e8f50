#pragma once

#include "learner/fleet_status.h"
#include "protocol/messages.h"

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace nabla {

// What an actor said last, and whether it is here.
struct ActorState {
  bool connected = false;
  std::string gone_because;  // empty while it is here
  bool has_worked = false;  // something that it delivered was accepted
  std::string host;
  std::int64_t pid = 0;
  double heard_at = 0;
  double moved_at = 0;  // when it last did something: a step, the next stage, a question for work
  Heartbeat heartbeat;
};

// Everybody who joined a run; where there are very many, those who left without having worked are forgotten. Times are seconds of one monotonic clock,
// given by the caller. One thread at a time.
class ActorBook {
 public:
  // Who somebody is that may become an actor: one that still loads, or only a visitor.
  void meet(const Hello& hello);
  void greet(const Hello& hello, double now);
  void note_work(const std::string& id) { actors_[id].has_worked = true; }
  // A message of an actor that is here.
  ActorState& hear(const std::string& id, double now);
  // The same, of one that asks for work.
  void ask_for_work(const std::string& id, double now);
  // The same, with what it says of itself.
  void take(const Heartbeat& heartbeat, double now);
  // False for a visitor, who never joined.
  bool leave(const std::string& id, const std::string& why);

  std::size_t num_connected() const;
  // When anybody of those that are here last did something; nothing if nobody is here.
  std::optional<double> last_move() const;
  // Who is here and what they do, for people: "actor-0 (process 7 on box): loading for 130 s".
  std::string describe(double now) const;
  const std::map<std::string, ActorState>& all() const { return actors_; }
  // In order of their names; what only the server counts is left at 0.
  std::vector<ActorStatus> status(double now) const;

 private:
  std::map<std::string, std::pair<std::string, std::int64_t>> met_;  // host and process by id
  std::map<std::string, ActorState> actors_;
};

}  // namespace nabla
