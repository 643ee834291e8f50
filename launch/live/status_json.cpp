#include "launch/live/status_json.h"

#include "launch/summary.h"

#include <nlohmann/json.hpp>

namespace nabla {

namespace {

using Json = nlohmann::ordered_json;

const char* name_of(TicketKind kind) {
  switch (kind) {
    case TicketKind::kSample:
      return "sample";
    case TicketKind::kRelabel:
      return "relabel";
    case TicketKind::kEvaluate:
      return "evaluate";
  }
  return "unknown";
}

Json actor_json(const ActorStatus& actor) {
  return {{"id", actor.id},
          {"host", actor.host},
          {"pid", actor.pid},
          {"connected", actor.connected},
          {"gone_because", actor.gone_because},
          {"heard_s", actor.heard_s},
          {"stage", actor.stage},
          {"steps_done", actor.steps_done},
          {"ticket", actor.ticket_id},
          {"version", actor.version},
          {"records", actor.records},
          {"rejected", actor.rejected},
          {"malformed", actor.malformed},
          {"peak_rss_bytes", actor.peak_rss_bytes},
          {"stage_seconds", actor.stage_seconds}};
}

Json ticket_json(const TicketStatus& ticket) {
  Json holders = Json::array();
  for (const auto& holder : ticket.holders)
    holders.push_back({{"actor", holder.actor}, {"held_s", holder.held_s}, {"idle_s", holder.idle_s}});
  return {{"id", ticket.id},           {"kind", name_of(ticket.kind)}, {"update", ticket.update}, {"version", ticket.version},
          {"missing", ticket.missing}, {"failures", ticket.failures},  {"holders", holders}};
}

Json lag_json(const std::map<std::int64_t, std::int64_t>& lags) {
  std::int64_t count = 0, sum = 0;
  Json counts = Json::object();
  for (const auto& [lag, trajectories] : lags) {
    count += trajectories;
    sum += lag * trajectories;
    counts[std::to_string(lag)] = trajectories;
  }
  return {{"mean", count > 0 ? static_cast<double>(sum) / static_cast<double>(count) : 0.0},
          {"max", lags.empty() ? 0 : lags.rbegin()->first},
          {"trajectories", counts}};
}

}  // namespace

nlohmann::ordered_json status_json(const FleetStatus& status) {
  Json actors = Json::array(), tickets = Json::array();
  for (const auto& actor : status.actors) actors.push_back(actor_json(actor));
  for (const auto& ticket : status.tickets) tickets.push_back(ticket_json(ticket));
  return {{"run_id", status.run_id},
          {"state", status.waiting_for.empty() ? "training" : "waiting"},
          {"waiting_for", status.waiting_for},
          {"wall_s", status.wall_s},
          {"updates", {{"done", status.updates_done}, {"wanted", status.updates_wanted}}},
          {"last_checkpoint", status.last_checkpoint},
          {"newest_version", status.newest_version},
          {"drift", status.drift},
          {"actors", actors},
          {"tickets", tickets},
          {"policy_lag", lag_json(status.lags)},
          {"rates", {{"records_per_s", status.records_per_s}, {"images_per_s", status.images_per_s}}},
          {"rejects", status.rejects},
          {"duplicates", status.duplicates},
          {"failed_attempts", status.failed_attempts},
          {"queue", {{"slots", status.queue_slots}, {"bytes", status.queue_bytes}}},
          {"ledger", ledger_json(status.ledger)},
          {"messages", status.messages},
          {"stage_seconds", status.stage_seconds},
          {"peak_rss_bytes", status.peak_rss_bytes}};
}

}  // namespace nabla
