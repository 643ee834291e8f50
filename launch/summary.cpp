#include "launch/summary.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace nabla {

namespace {

// Stages that every summary names, whatever the roles did.
constexpr const char* kStages[] = {"sampling", "reward_gradient", "reference", "learner", "wait_for_batch", "wait_for_ticket"};

nlohmann::ordered_json evaluation_json(const EvaluationSummary& evaluation) {
  nlohmann::ordered_json json{
      {"update", evaluation.update}, {"reward_mean", evaluation.reward_mean}, {"reward_std", evaluation.reward_std}};
  if (evaluation.has_true_reward) {
    json["true_reward_mean"] = evaluation.true_reward_mean;
    json["true_reward_std"] = evaluation.true_reward_std;
  }
  if (evaluation.has_checker) {
    json["diversity"] = evaluation.diversity;
    json["prompt_accuracy"] = evaluation.prompt_accuracy;
    json["color_accuracy"] = evaluation.color_accuracy;
    json["shape_accuracy"] = evaluation.shape_accuracy;
    json["count_accuracy"] = evaluation.count_accuracy;
  }
  json["drift"] = evaluation.drift;
  return json;
}

nlohmann::ordered_json stages_json(const std::map<std::string, double>& stage_seconds) {
  nlohmann::ordered_json json;
  for (const char* stage : kStages) json[stage] = 0.0;
  for (const auto& [stage, seconds] : stage_seconds) json[stage] = seconds;
  return json;
}

std::string discard_text(const LedgerSummary& ledger) {
  std::int64_t total = 0;
  std::string reasons;
  for (const auto& [reason, slots] : ledger.discarded) {
    total += slots;
    reasons += fmt::format("{}{} {}", reasons.empty() ? "" : ", ", reason, slots);
  }
  return reasons.empty() ? std::to_string(total) : fmt::format("{} ({})", total, reasons);
}

std::string evaluation_rows(const std::vector<EvaluationSummary>& evaluations) {
  if (evaluations.empty()) return "";
  std::string rows = fmt::format("  {:>8}  {:>14}  {:>14}  {:>9}  {:>8}  {:>7}\n", "update", "reward", "true reward", "diversity", "accuracy", "drift");
  for (const auto& entry : evaluations) {
    rows += fmt::format("  {:>8}  {:>7.2f} ± {:<4.2f}  {:>14}  {:>9}  {:>8}  {:>7.3f}\n", entry.update, entry.reward_mean, entry.reward_std,
                        entry.has_true_reward ? fmt::format("{:.2f} ± {:.2f}", entry.true_reward_mean, entry.true_reward_std) : "-",
                        entry.has_checker ? fmt::format("{:.3f}", entry.diversity) : "-",
                        entry.has_checker ? fmt::format("{:.0f}%", 100.0 * entry.prompt_accuracy) : "-", entry.drift);
  }
  return rows;
}

std::string passes_text(const RunSummary& summary) {
  std::string text;
  for (const auto& [name, count] : learner_passes(summary)) text += fmt::format("{} {} {:.2f}", text.empty() ? "" : ",", name, count);
  return text.empty() ? "" : "  learner, passes a transition:" + text + "\n";
}

}  // namespace

nlohmann::ordered_json ledger_json(const LedgerSummary& ledger) {
  nlohmann::ordered_json discarded = nlohmann::ordered_json::object();
  for (const auto& [reason, slots] : ledger.discarded) discarded[reason] = slots;
  return {{"issued", ledger.issued}, {"trained", ledger.trained}, {"discarded", discarded}, {"outstanding", ledger.outstanding},
          {"residual", ledger.residual()}};
}

std::vector<std::pair<std::string, double>> learner_passes(const RunSummary& summary) {
  std::vector<std::pair<std::string, double>> passes;
  for (const std::string network : {"unet", "flow"}) {
    for (const std::string pass : {"forwards", "backwards"}) {
      const auto rows = summary.counters.find("learner_" + network + "_" + pass);
      if (rows == summary.counters.end() || summary.unique_transitions == 0) continue;
      passes.emplace_back(network + "_" + pass, static_cast<double>(rows->second) / static_cast<double>(summary.unique_transitions));
    }
  }
  return passes;
}

nlohmann::ordered_json summary_json(const RunSummary& summary) {
  nlohmann::ordered_json passes = nlohmann::ordered_json::object();
  for (const auto& [name, count] : learner_passes(summary)) passes[name] = count;
  nlohmann::ordered_json evaluation = nlohmann::ordered_json::array();
  for (const auto& entry : summary.evaluation) evaluation.push_back(evaluation_json(entry));
  return {{"exit_reason", summary.exit_reason},
          {"run_id", summary.run_id},
          {"updates", summary.updates},
          {"trajectories", summary.trajectories},
          {"unique_transitions", summary.unique_transitions},
          {"wall_s", summary.wall_s},
          {"actors_seen", summary.actors_seen},
          {"weights_digest", summary.weights_digest},
          {"evaluation", evaluation},
          {"policy_lag", {{"mean", summary.policy_lag_mean}, {"max", summary.policy_lag_max}}},
          {"ledger", ledger_json(summary.ledger)},
          {"stage_seconds", stages_json(summary.stage_seconds)},
          {"peak_rss_bytes", summary.peak_rss_bytes},
          {"learner_passes_per_transition", passes},
          {"counters", summary.counters}};
}

std::string summary_table(const RunSummary& summary) {
  const LedgerSummary& ledger = summary.ledger;
  std::string table = fmt::format("{} after {} updates in {:.1f} s\n", summary.exit_reason, summary.updates, summary.wall_s);
  table += evaluation_rows(summary.evaluation);
  table += fmt::format("  trajectories {}, unique transitions {} ({:.1f}/s), actors seen {}, policy lag mean {:.2f} max {}\n", summary.trajectories,
                       summary.unique_transitions,
                       summary.wall_s > 0.0 ? static_cast<double>(summary.unique_transitions) / summary.wall_s : 0.0, summary.actors_seen,
                       summary.policy_lag_mean, summary.policy_lag_max);
  table += fmt::format("  ledger (slots): issued {} = trained {} + discarded {} + outstanding {}; residual {}\n", ledger.issued, ledger.trained,
                       discard_text(ledger), ledger.outstanding, ledger.residual());
  table += passes_text(summary) + "  seconds:";
  for (const auto& [stage, seconds] : summary.stage_seconds) table += fmt::format(" {} {:.1f}", stage, seconds);
  table += "\n  peak memory:";
  for (const auto& [role, bytes] : summary.peak_rss_bytes) table += fmt::format(" {} {:.0f} MiB", role, static_cast<double>(bytes) / (1 << 20));
  return table + fmt::format("\n  weights {}", summary.weights_digest);
}

}  // namespace nabla
