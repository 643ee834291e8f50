#include "launch/summary.h"

#include "tests/launch/synthetic_run.h"
#include "tests/testing.h"

#include <nlohmann/json.hpp>

using namespace nabla;

namespace {

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("the ledger's residual is what no term explains") {
  LedgerSummary ledger{.issued = 10, .trained = 5, .outstanding = 2, .discarded = {{"a", 1}, {"b", 2}}};
  CHECK(ledger.residual() == 0);
  ledger.issued = 11;
  CHECK(ledger.residual() == 1);
  ledger.discarded["b"] = 4;
  CHECK(ledger.residual() == -1);
}

TEST_CASE("summary.json has every field that scripts rely on") {
  const auto json = summary_json(synthetic_summary());
  CHECK(json["exit_reason"] == "finished");
  CHECK(json["updates"] == 20);
  CHECK(json["trajectories"] == 157);
  CHECK(json["unique_transitions"] == 785);
  CHECK(json["wall_s"] == 81.25);
  CHECK(json["actors_seen"] == 3);
  CHECK(json["weights_digest"] == "0123456789abcdef0123456789abcdef");
  CHECK(nlohmann::json(json["policy_lag"]) == nlohmann::json{{"mean", 0.75}, {"max", 3}});
  CHECK(nlohmann::json(json["ledger"]) ==
        nlohmann::json{
            {"issued", 165}, {"trained", 157}, {"discarded", {{"non_finite", 1}, {"attempts", 2}}}, {"outstanding", 5}, {"residual", 0}});
  CHECK(nlohmann::json(json["peak_rss_bytes"]) == nlohmann::json{{"learner", 734003200}, {"actor", 524288000}});
}

TEST_CASE("a summary says what the learner's networks did for a transition, by their counters") {
  RunSummary summary = synthetic_summary();
  CHECK(nlohmann::json(summary_json(summary)["learner_passes_per_transition"]) ==
        nlohmann::json{{"unet_forwards", 1.0}, {"unet_backwards", 2.0}});
  CHECK(holds(summary_table(summary), "learner, passes a transition: unet_forwards 1.00, unet_backwards 2.00\n"));
  summary.unique_transitions = 0;
  CHECK(summary_json(summary)["learner_passes_per_transition"].empty());
  CHECK_FALSE(holds(summary_table(summary), "a transition"));
}

TEST_CASE("summary.json lists the evaluations in order") {
  const auto evaluations = summary_json(synthetic_summary())["evaluation"];
  REQUIRE(evaluations.size() == 3);
  CHECK(evaluations[0]["update"] == 0);
  CHECK(evaluations[2]["update"] == 20);
  CHECK(evaluations[2]["reward_mean"] == 7.0);
  CHECK(evaluations[2]["reward_std"] == 1.25);
  CHECK(evaluations[2]["true_reward_mean"] == 5.0);
  CHECK(evaluations[2]["true_reward_std"] == 1.5);
  CHECK(evaluations[2]["diversity"].get<double>() == doctest::Approx(0.46));
  CHECK(evaluations[2]["prompt_accuracy"] == 0.9);
  CHECK(evaluations[2]["drift"] == 0.2);
}

TEST_CASE("what was not measured is absent, not 0") {
  RunSummary summary = synthetic_summary();
  for (auto& evaluation : summary.evaluation) evaluation.has_checker = evaluation.has_true_reward = false;
  const auto json = summary_json(summary)["evaluation"][0];
  for (const char* key : {"true_reward_mean", "true_reward_std", "diversity", "prompt_accuracy"}) CHECK_FALSE(json.contains(key));
  CHECK(json.contains("drift"));
}

TEST_CASE("every stage is named, also one that took no time") {
  const auto seconds = summary_json(synthetic_summary())["stage_seconds"];
  for (const char* stage : {"sampling", "reward_gradient", "reference", "learner", "wait_for_batch", "wait_for_ticket"})
    CHECK_MESSAGE(seconds.contains(stage), stage);
  CHECK(seconds["sampling"] == 60.5);
  CHECK(seconds["reference"] == 0.0);
}

TEST_CASE("a run without evaluations has an empty list and no discards") {
  const auto json = summary_json({});
  CHECK(json["evaluation"].is_array());
  CHECK(json["evaluation"].empty());
  CHECK(json["ledger"]["discarded"].is_object());
}

TEST_CASE("the table says the same to people") {
  const std::string table = summary_table(synthetic_summary());
  for (const char* part : {"finished after 20 updates in 81.2 s", "7.00 ± 1.25", "5.00 ± 1.50", "0.460", "90%", "trajectories 157",
                           "unique transitions 785 (9.7/s)", "actors seen 3", "mean 0.75 max 3",
                           "issued 165 = trained 157 + discarded 3 (attempts 2, non_finite 1) + outstanding 5; residual 0", "sampling 60.5",
                           "learner 700 MiB", "0123456789abcdef0123456789abcdef"})
    CHECK_MESSAGE(holds(table, part), part);
}

TEST_CASE("a run of no time has no rate of infinity") {
  RunSummary summary = synthetic_summary();
  summary.wall_s = 0.0;
  CHECK(holds(summary_table(summary), "(0.0/s)"));
}
