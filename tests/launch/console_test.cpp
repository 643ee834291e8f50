#include "launch/console.h"

#include "tests/testing.h"

#include <cstdlib>
#include <limits>

using namespace nabla;

namespace {

RunFacts facts_of(std::int64_t updates) {
  RunFacts facts;
  facts.updates = updates;
  return facts;
}

UpdateReport report_at(std::int64_t update) {
  return {update,
          10.0,
          {{"reward_mean", 5.814}, {"reward_std", 0.336}, {"loss", 1.23e-3}, {"policy_lag/mean", 0.42}, {"perf/images_per_s", 3.14}}};
}

}  // namespace

TEST_CASE("a progress line says where a run is, what is left and how it goes") {
  CHECK(progress_line(facts_of(60), report_at(37), 10.95, 5) ==
        "update 37/60 ▕███  ▏ 62% ETA 4m12s  reward 5.81±0.34  loss 1.2e-03  lag 0.4  3.1 img/s");
}

TEST_CASE("a progress line leaves out the bar and what is not known yet") {
  CHECK(progress_line(facts_of(60), report_at(37), 0.0, 0) == "update 37/60 62% ETA -  reward 5.81±0.34  loss 1.2e-03  lag 0.4  3.1 img/s");
  CHECK(progress_line(facts_of(4), {2, 1.0, {}}, 3.0, 0) == "update 2/4 50% ETA 6s");
  CHECK(progress_line(facts_of(4), {2, 1.0, {{"reward_mean", 1.0}}}, 3.0, 0) == "update 2/4 50% ETA 6s  reward 1.00");
}

TEST_CASE("times are written for people") {
  const auto left = [](double seconds) {
    return progress_line(facts_of(2), {1, 0.0, {}}, seconds, 0).substr(std::string("update 1/2 50% ETA ").size());
  };
  CHECK(left(0.4) == "0s");
  CHECK(left(59.4) == "59s");
  CHECK(left(59.6) == "1m00s");
  CHECK(left(3599.0) == "59m59s");
  CHECK(left(3600.0) == "1h00m");
  CHECK(left(90061.0) == "25h01m");
}

TEST_CASE("a bar is empty at the start, full at the end and never longer") {
  CHECK(progress_line(facts_of(10), {0, 0.0, {}}, 0.0, 4).starts_with("update 0/10 ▕    ▏ 0%"));
  CHECK(progress_line(facts_of(10), {10, 0.0, {}}, 1.0, 4).starts_with("update 10/10 ▕████▏ 100% ETA 0s"));
  CHECK(progress_line(facts_of(10), {12, 0.0, {}}, 1.0, 4).starts_with("update 12/10 ▕████▏ 100% ETA 0s"));
  CHECK(progress_line(facts_of(0), {0, 0.0, {}}, 1.0, 4).starts_with("update 0/0 ▕    ▏ 0%"));
}

TEST_CASE("a loss that is not finite is shown as it is") {
  const UpdateReport report{1, 0.0, {{"loss", std::numeric_limits<double>::quiet_NaN()}}};
  CHECK(progress_line(facts_of(2), report, 0.0, 0) == "update 1/2 50% ETA -  loss nan");
}

TEST_CASE("an evaluation line holds what was measured") {
  EvaluationSummary evaluation;
  evaluation.update = 20;
  evaluation.reward_mean = 6.8;
  evaluation.reward_std = 1.12;
  CHECK(evaluation_line(evaluation) == "update 20: reward 6.80±1.12");
  evaluation.has_true_reward = true;
  evaluation.true_reward_mean = 6.514;
  evaluation.true_reward_std = 1.9;
  CHECK(evaluation_line(evaluation) == "update 20: reward 6.80±1.12, true reward 6.51±1.90");
  evaluation.has_checker = true;
  evaluation.diversity = 0.31;
  evaluation.prompt_accuracy = 0.9297;
  CHECK(evaluation_line(evaluation) == "update 20: reward 6.80±1.12, true reward 6.51±1.90, diversity 0.310, prompt accuracy 93%");
}

TEST_CASE("a line is cut by letters, not by bytes") {
  CHECK(cut_to_columns("reward 5±1", 9) == "reward 5±");
  CHECK(cut_to_columns("▕██▏", 2) == "▕█");
  CHECK(cut_to_columns("abc", 3) == "abc");
  CHECK(cut_to_columns("abc", 0).empty());
  CHECK(cut_to_columns("", 5).empty());
}

TEST_CASE("the environment decides about columns and colours") {
  setenv("COLUMNS", "123", 1);
  setenv("CLICOLOR_FORCE", "1", 1);
  unsetenv("NO_COLOR");
  CHECK(Console::detect({}).columns == 123);
  CHECK(Console::detect({}).color);
  CHECK(Console::detect({.quiet = true}).quiet);
  setenv("NO_COLOR", "1", 1);
  CHECK_FALSE(Console::detect({}).color);
  setenv("COLUMNS", "no number", 1);
  CHECK(Console::detect({}).columns > 0);
  for (const char* name : {"COLUMNS", "CLICOLOR_FORCE", "NO_COLOR"}) unsetenv(name);
}
