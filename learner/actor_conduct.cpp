#include "learner/actor_conduct.h"

#include "common/log.h"

#include <algorithm>

namespace nabla {

namespace {

constexpr std::int64_t kForgivenFailures = 1, kForgivenDiscards = 1;
constexpr std::int64_t kFailuresBeforeRest = 3;
constexpr double kLongestRest = 600;
constexpr std::size_t kMaxRecords = 8192;

}  // namespace

void ActorConduct::left(const std::string& actor) {
  const auto found = actors_.find(actor);
  if (found == actors_.end()) return;
  found->second.here = false;
  if (actors_.size() > kMaxRecords) std::erase_if(actors_, [](const auto& entry) { return !entry.second.here; });
}

void ActorConduct::delivered(const std::string& actor) {
  Record& record = actors_[actor];
  record.delivers = true;
  record.failed = record.lost = 0;
  record.next_rest_s = Record().next_rest_s;
}

void ActorConduct::failed(const std::string& actor, double now) {
  Record& record = actors_[actor];
  ++record.failed;
  record.delivers = record.delivers && record.failed <= kForgivenFailures;
  if (record.failed < kFailuresBeforeRest || !others_deliver(actor)) return;
  record.rests_until = now + record.next_rest_s;
  log_warning("[fleet] actor {} gets no ticket for {:.0f} s: its last {} failed, and others deliver", actor, record.next_rest_s,
              record.failed);
  record.next_rest_s = std::min(2 * record.next_rest_s, kLongestRest);
}

bool ActorConduct::others_deliver(const std::string& actor) const {
  return std::ranges::any_of(actors_,
                             [&](const auto& entry) { return entry.first != actor && entry.second.here && entry.second.delivers; });
}

bool ActorConduct::failures_count(const std::string& actor, std::int64_t discards) const {
  const auto found = actors_.find(actor);
  const bool sound = found != actors_.end() && found->second.delivers && found->second.failed + found->second.lost <= kForgivenFailures &&
                     discards <= kForgivenDiscards;
  return sound || !others_deliver(actor);
}

double ActorConduct::rest_of(const std::string& actor, double now) const {
  const auto found = actors_.find(actor);
  if (found == actors_.end() || found->second.rests_until <= now || !others_deliver(actor)) return 0;
  return found->second.rests_until - now;
}

}  // namespace nabla
