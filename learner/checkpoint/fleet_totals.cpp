#include "learner/checkpoint/fleet_totals.h"

#include <algorithm>

namespace nabla {

namespace {

template <class Totals>
void add_difference(Totals& target, const Totals& now, const Totals& before) {
  for (const auto& [name, value] : now) {
    const auto found = before.find(name);
    target[name] += std::max<typename Totals::mapped_type>(0, found == before.end() ? value : value - found->second);
  }
}

}  // namespace

void FleetTotals::add(RunSummary& summary, const Ingest& ingest, const std::map<std::string, std::int64_t>& server_counters) const {
  summary.actors_seen = std::ssize(told_work(ingest));
  for (const auto& [id, actor] : ingest.actors()) {
    const auto before = told_before_.find(id);
    const bool goes_on = before != told_before_.end() && before->second.pid == actor.pid && before->second.host == actor.host;
    const ToldWork told = goes_on ? before->second : ToldWork{};
    add_difference(summary.stage_seconds, actor.heartbeat.stage_seconds, told.stage_seconds);
    add_difference(summary.counters, actor.heartbeat.counters, told.counters);
    auto& peak = summary.peak_rss_bytes["actor"];
    peak = std::max(peak, actor.heartbeat.peak_rss_bytes);
  }
  for (const auto& [name, count] : server_counters) {
    if (!name.starts_with("actor.")) summary.counters[name] += count;
  }
  for (const auto& [name, count] : ingest.rejects()) summary.counters["rejected_" + name] += count;
  summary.counters["duplicates"] += ingest.duplicates();
  summary.counters["failed_attempts"] += ingest.failed_attempts();
}

std::map<std::string, ToldWork> FleetTotals::told_work(const Ingest& ingest) const {
  std::map<std::string, ToldWork> told = told_before_;
  for (const auto& [id, actor] : ingest.actors())
    told[id] = {actor.host, actor.pid, actor.heartbeat.stage_seconds, actor.heartbeat.counters};
  return told;
}

}  // namespace nabla
