#include "launch/live/status_text.h"

#include "launch/log/log_text.h"
#include "protocol/fleet_server.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <vector>

namespace nabla {

namespace {

using Json = nlohmann::ordered_json;

// Actors that left longer ago are only counted.
constexpr double kShowGoneFor_s = 60.0;
constexpr std::size_t kTicketsShown = 12;

std::string text_of(const Json& json, const char* key) { return json.at(key).get<std::string>(); }
double number_of(const Json& json, const char* key) { return json.at(key).get<double>(); }
std::int64_t count_of(const Json& json, const char* key) { return json.at(key).get<std::int64_t>(); }
std::string seconds_text(double seconds) { return duration_text(static_cast<std::int64_t>(1000.0 * seconds)); }

// "bad_digest 2, non_finite 1"; the sum alone where all is well.
std::string reasons_text(const Json& counts) {
  std::int64_t total = 0;
  std::string reasons;
  for (const auto& [reason, count] : counts.items()) {
    total += count.get<std::int64_t>();
    reasons += fmt::format("{}{} {}", reasons.empty() ? "" : ", ", reason, count.get<std::int64_t>());
  }
  return reasons.empty() ? "0" : fmt::format("{} ({})", total, reasons);
}

// Columns as wide as their widest cell, two blanks between them.
std::string table_text(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line = " ";
    for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format(" {:<{}} ", row[i], widths[i]);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string headline(const Json& status) {
  const Json &updates = status.at("updates"), &rates = status.at("rates"), &lag = status.at("policy_lag"), &queue = status.at("queue");
  std::string text =
      fmt::format("run {}: {} of {} updates after {}, weight version {} is out\n", text_of(status, "run_id"), count_of(updates, "done"),
                  count_of(updates, "wanted"), seconds_text(number_of(status, "wall_s")), count_of(status, "newest_version"));
  const std::int64_t checkpoint = status.value("last_checkpoint", std::int64_t{-1});
  text += checkpoint < 0 ? "  no checkpoint yet\n" : fmt::format("  last checkpoint before update {}\n", checkpoint);
  const std::string waiting_for = text_of(status, "waiting_for");
  text += waiting_for.empty() ? "  the learner computes\n" : fmt::format("  the learner waits: {}\n", waiting_for);
  text +=
      fmt::format("  {:.2f} records/s, {:.2f} images/s over the last minute; policy lag mean {:.2f} max {}; queue {} trajectories, {}\n",
                  number_of(rates, "records_per_s"), number_of(rates, "images_per_s"), number_of(lag, "mean"), count_of(lag, "max"),
                  count_of(queue, "slots"), bytes_text(queue.at("bytes").get<std::uint64_t>()));
  const Json& ledger = status.at("ledger");
  text += fmt::format("  ledger (slots): issued {} = trained {} + discarded {} + outstanding {}; residual {}\n", count_of(ledger, "issued"),
                      count_of(ledger, "trained"), reasons_text(ledger.at("discarded")), count_of(ledger, "outstanding"),
                      count_of(ledger, "residual"));
  return text + fmt::format("  refused records {}; duplicates {}; failed attempts at tickets {}\n", reasons_text(status.at("rejects")),
                            count_of(status, "duplicates"), count_of(status, "failed_attempts"));
}

// What it does, and of one that is not here how it went.
std::string stage_text(const Json& actor) {
  if (actor.at("connected").get<bool>()) return text_of(actor, "stage");
  return text_of(actor, "gone_because") == kSaidGoodbye ? "left" : "gone";
}

std::string actors_text(const Json& actors) {
  std::vector<std::vector<std::string>> rows{{"actor", "heard", "stage", "ticket", "version", "records", "refused", "memory", "process"}};
  std::size_t long_gone = 0;
  for (const Json& actor : actors) {
    const bool connected = actor.at("connected").get<bool>();
    if (!connected && number_of(actor, "heard_s") > kShowGoneFor_s) {
      ++long_gone;
      continue;
    }
    const std::int64_t ticket = count_of(actor, "ticket"), refused = count_of(actor, "rejected") + count_of(actor, "malformed");
    rows.push_back({text_of(actor, "id"), seconds_text(number_of(actor, "heard_s")) + " ago", stage_text(actor),
                    connected && ticket > 0 ? std::to_string(ticket) : "-", std::to_string(count_of(actor, "version")),
                    std::to_string(count_of(actor, "records")), std::to_string(refused),
                    bytes_text(actor.at("peak_rss_bytes").get<std::uint64_t>()),
                    fmt::format("{} on {}", count_of(actor, "pid"), text_of(actor, "host"))});
  }
  std::string text = rows.size() > 1 ? table_text(rows) : "  no actor is here\n";
  if (long_gone > 0) text += fmt::format("  {} more went earlier\n", long_gone);
  return text;
}

std::string tickets_text(const Json& tickets) {
  if (tickets.empty()) return "  no ticket is open\n";
  std::vector<std::vector<std::string>> rows{{"ticket", "kind", "update", "version", "missing", "failed", "held by"}};
  for (std::size_t i = 0; i < std::min(tickets.size(), kTicketsShown); ++i) {
    const Json& ticket = tickets[i];
    std::string holders;
    for (const Json& holder : ticket.at("holders"))
      holders += fmt::format("{}{} ({}, progress {} ago)", holders.empty() ? "" : ", ", text_of(holder, "actor"),
                             seconds_text(number_of(holder, "held_s")), seconds_text(number_of(holder, "idle_s")));
    rows.push_back({std::to_string(ticket.at("id").get<std::uint64_t>()), text_of(ticket, "kind"),
                    std::to_string(count_of(ticket, "update")), std::to_string(count_of(ticket, "version")),
                    std::to_string(count_of(ticket, "missing")), std::to_string(count_of(ticket, "failures")),
                    holders.empty() ? "nobody" : holders});
  }
  const std::size_t more = tickets.size() - std::min(tickets.size(), kTicketsShown);
  return table_text(rows) + (more > 0 ? fmt::format("  and {} more\n", more) : "");
}

std::string fleet_text(const Json& fleet) {
  if (fleet.is_null()) return "  actors are started by hand\n";
  std::string text = fmt::format("  nabla train (process {}) keeps {} actors\n", count_of(fleet, "pid"), count_of(fleet, "actors_wanted"));
  for (const Json& actor : fleet.at("actors")) {
    const std::string state = text_of(actor, "state");
    if (state != "running") text += fmt::format("    {}: {}\n", text_of(actor, "id"), state);
  }
  return text;
}

}  // namespace

std::string status_text(const Json& status, const Json& fleet) {
  return headline(status) + fleet_text(fleet) + "\n" + actors_text(status.at("actors")) + "\n" + tickets_text(status.at("tickets"));
}

}  // namespace nabla
