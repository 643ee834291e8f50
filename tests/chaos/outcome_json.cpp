#include "tests/chaos/chaos_run.h"

namespace nabla::chaos {

nlohmann::ordered_json json_of(const Scenario& scenario, const ChaosOptions& options, const ChaosOutcome& outcome) {
  nlohmann::ordered_json json{{"scenario", scenario.name}, {"figure", scenario.figure}, {"seed", options.seed}};
  if (!options.bug.empty()) json["bug"] = options.bug;
  if (!outcome.skipped.empty()) {
    json["skipped"] = outcome.skipped;
    return json;
  }
  json["passed"] = outcome.findings.empty();
  auto& findings = json["findings"] = nlohmann::ordered_json::array();
  for (const Finding& finding : outcome.findings) findings.push_back({{"kind", finding.kind}, {"text", finding.text}});
  const OfflineLedger& ledger = outcome.check.ledger;
  json["ledger"] = {{"issued", ledger.issued},
                    {"trained", ledger.trained},
                    {"discarded", ledger.discarded},
                    {"outstanding", ledger.outstanding},
                    {"residual", ledger.residual()}};
  json["records"] = {{"logged", outcome.check.logged}, {"acked", outcome.check.acked}, {"acked_duplicate", outcome.check.duplicates}};
  json["must"] = scenario.must;
  json["happened"] = outcome.happened;
  json["seconds"] = outcome.seconds;
  json["longest_pause_s"] = outcome.longest_pause_s;
  json["restarts"] = {{"times", outcome.restarts.times()}, {"longest_s", outcome.restarts.longest_s()}};
  json["returns"] = {{"times", outcome.returns.times()}, {"longest_s", outcome.returns.longest_s()}};
  return json;
}

}  // namespace nabla::chaos
