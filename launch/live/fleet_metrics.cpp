#include "launch/live/fleet_metrics.h"

#include "launch/live/prometheus_text.h"

#include <algorithm>

namespace nabla {

namespace {

const std::vector<double> kLagBounds{0, 1, 2, 3, 4, 8, 16, 32};

double value(std::int64_t number) { return static_cast<double>(number); }
double value(std::uint64_t number) { return static_cast<double>(number); }

void add_training(PrometheusText& out, const FleetStatus& status) {
  out.counter("nabla_updates_total", "Optimiser updates done.", value(status.updates_done));
  out.gauge("nabla_updates_wanted", "Optimiser updates of the whole run.", value(status.updates_wanted));
  out.gauge("nabla_weight_version", "Newest published weight version.", value(status.newest_version));
  out.gauge("nabla_publish_lag_updates", "Updates since the newest published version.", value(std::max<std::int64_t>(0, status.updates_done - status.newest_version)));
  out.gauge("nabla_drift_ratio", "RMS distance of the newest version's predictions from the base model's, over the base model's RMS.",
            status.drift);
  out.gauge("nabla_learner_waiting", "1 while the learner waits for trajectories or evaluations.", status.waiting_for.empty() ? 0 : 1);
  out.gauge("nabla_run_seconds", "Seconds since the run began.", status.wall_s);
  std::map<double, double> lags;
  for (const auto& [lag, count] : status.lags) lags[value(lag)] = value(count);
  out.histogram("nabla_policy_lag_updates", "Trained trajectories by policy lag.", lags, kLagBounds);
}

void add_ledger(PrometheusText& out, const FleetStatus& status) {
  const LedgerSummary& ledger = status.ledger;
  out.counter("nabla_slots_issued_total", "Slots that tickets were issued for.", value(ledger.issued));
  out.counter("nabla_slots_trained_total", "Slots that were trained.", value(ledger.trained));
  for (const auto& [reason, count] : ledger.discarded)
    out.counter("nabla_slots_discarded_total", "Slots given up, by reason.", value(count), {{"reason", reason}});
  out.gauge("nabla_slots_outstanding", "Slots on the way or in the queue.", value(ledger.outstanding));
  out.gauge("nabla_ledger_residual_slots", "Slots that nothing accounts for; always 0.", value(ledger.residual()));
  out.gauge("nabla_queue_trajectories", "Trajectories in the queue.", value(status.queue_slots));
  out.gauge("nabla_queue_bytes", "Bytes of the records in the queue.", value(status.queue_bytes));
}

void add_traffic(PrometheusText& out, const FleetStatus& status) {
  for (const auto& [reason, count] : status.rejects)
    out.counter("nabla_records_rejected_total", "Refused records, by reason.", value(count), {{"reason", reason}});
  out.counter("nabla_records_duplicate_total", "Records of slots that another one was accepted for before.", value(status.duplicates));
  for (const auto& [kind, count] : status.messages) {
    if (kind == "bytes_in" || kind.starts_with("rejected_")) continue;
    out.counter("nabla_messages_total", "Messages of the fleet's sockets, by kind.", value(count), {{"kind", kind}});
  }
  const auto bytes = status.messages.find("bytes_in");
  out.counter("nabla_received_bytes_total", "Bytes of messages that actors sent.",
              bytes == status.messages.end() ? 0.0 : value(bytes->second));
  out.counter("nabla_ticket_attempts_failed_total", "Attempts at tickets that failed.", value(status.failed_attempts));
  std::map<std::string, std::int64_t> open{{"sample", 0}, {"relabel", 0}, {"evaluate", 0}};
  for (const auto& ticket : status.tickets) {
    ++open[ticket.kind == TicketKind::kSample ? "sample" : ticket.kind == TicketKind::kRelabel ? "relabel" : "evaluate"];
  }
  for (const auto& [kind, count] : open)
    out.gauge("nabla_open_tickets", "Tickets that are not finished, by kind.", value(count), {{"kind", kind}});
}

// Each family's samples stand together, so actors are walked through once a family. Those that are gone have none.
template <class Add>
void each_actor(const FleetStatus& status, Add add) {
  for (const auto& actor : status.actors) {
    if (actor.connected) add(actor, MetricLabels{{"actor", actor.id}});
  }
}

void add_actors(PrometheusText& out, const FleetStatus& status) {
  double connected = 0;
  each_actor(status, [&](const ActorStatus&, const MetricLabels&) { ++connected; });
  out.gauge("nabla_actors_connected", "Actors that were heard of within three heartbeats.", connected);
  each_actor(status, [&](const ActorStatus& actor, const MetricLabels& labels) {
    out.gauge("nabla_actor_heartbeat_age_seconds", "Seconds since an actor was heard of.", actor.heard_s, labels);
    out.gauge("nabla_actor_weight_version", "Weight version that an actor has installed; -1: none.", value(actor.version), labels);
    out.counter("nabla_actor_records_total", "Records that an actor sent.", value(actor.records), labels);
    out.counter("nabla_actor_rejected_total", "Records of an actor that were refused.", value(actor.rejected), labels);
    out.counter("nabla_actor_malformed_total", "Messages of an actor that could not be read.", value(actor.malformed), labels);
    out.gauge("nabla_actor_peak_memory_bytes", "Most memory that an actor ever had.", value(actor.peak_rss_bytes), labels);
    for (const auto& [stage, seconds] : actor.stage_seconds) {
      out.counter("nabla_actor_stage_seconds_total", "Seconds that an actor spent, by stage.", seconds, {labels.front(), {"stage", stage}});
    }
  });
}

}  // namespace

std::string learner_metrics(const FleetStatus& status) {
  PrometheusText out({{"role", "learner"}, {"rank", "0"}});
  add_training(out, status);
  add_ledger(out, status);
  add_traffic(out, status);
  add_actors(out, status);
  for (const auto& [stage, seconds] : status.stage_seconds)
    out.counter("nabla_stage_seconds_total", "Seconds of a role, by stage.", seconds, {{"stage", stage}});
  out.gauge("nabla_peak_memory_bytes", "Most memory that a role ever had.", value(status.peak_rss_bytes));
  return out.text();
}

std::string actor_metrics(const Heartbeat& heartbeat) {
  PrometheusText out({{"role", "actor"}, {"actor", heartbeat.actor_id}});
  out.gauge("nabla_weight_version", "Installed weight version; -1: none.", value(heartbeat.version));
  out.gauge("nabla_ticket_held", "1 while a ticket is worked on.", heartbeat.ticket_id == 0 ? 0 : 1);
  out.counter("nabla_steps_total", "Steps of work done.", value(heartbeat.steps_done));
  for (const auto& [stage, seconds] : heartbeat.stage_seconds)
    out.counter("nabla_stage_seconds_total", "Seconds of a role, by stage.", seconds, {{"stage", stage}});
  for (const auto& [network, count] : heartbeat.counters)
    out.counter("nabla_network_rows_total", "Rows through each network.", value(count), {{"network", network}});
  out.gauge("nabla_peak_memory_bytes", "Most memory that a role ever had.", value(heartbeat.peak_rss_bytes));
  return out.text();
}

}  // namespace nabla
