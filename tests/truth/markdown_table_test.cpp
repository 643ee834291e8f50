#include "launch/truth/markdown_table.h"
#include "common/files.h"
#include "common/json_file.h"
#include "launch/truth/tiers.h"
#include "tests/testing.h"

using namespace nabla;
using namespace nabla::truth;

namespace {

constexpr std::size_t kMaxFile = std::size_t{8} << 20;

std::string source_file(const std::string& name) { return std::string(NABLA_SOURCE_DIR) + "/" + name; }

}  // namespace

TEST_CASE("a table has a row for each metric of a case and one for a control, with a column for each seed") {
  const auto result = nlohmann::ordered_json::parse(R"({"cases": [
    {"case": "T3 plane", "tier": "T3", "seed": 1, "expected": "pass", "seconds": 45, "cpu_seconds": 30, "pass": true,
     "checks": [{"metric": "kl", "value": 0.00512, "at_most": 0.01, "floor": 0.0001}, {"metric": "w1", "value": 0.1, "at_most": 0.12}]},
    {"case": "T3 plane", "tier": "T3", "seed": 2, "expected": "pass", "seconds": 135, "cpu_seconds": 90, "pass": false,
     "checks": [{"metric": "kl", "value": 0.004, "at_most": 0.01, "floor": 0.0002}, {"metric": "w1", "value": 0.13, "at_most": 0.12}]},
    {"case": "T5 control", "tier": "T5", "seed": 2, "expected": "must fail", "seconds": 0, "cpu_seconds": 0, "pass": true,
     "checks": [{"metric": "variance", "value": 0.9, "at_least": 1.8}, {"metric": "other", "value": 1, "at_most": 2}]},
    {"case": "T6 control", "tier": "T6", "seed": 2, "expected": "must fail", "seconds": 0, "cpu_seconds": 0, "pass": true,
     "checks": [{"metric": "change", "value": null, "at_most": 0.01}]}]})");
  CHECK(markdown_table(result) ==
        "| tier | trial | metric | seed 1 | seed 2 | floor | asked | |\n|---|---|---|---|---|---|---|---|\n"
        "| T3 | T3 plane | kl | 0.00512 | 0.004 | 0.0002 | at most 0.01 | passes |\n"
        "| T3 | T3 plane | w1 | 0.1 | 0.13 |  | at most 0.12 | **wrong** |\n"
        "| T5 | T5 control | variance |  | 0.9 |  | at least 1.8 | fails, as it must |\n"
        "| T6 | T6 control | change |  | not finite |  | at most 0.01 | **wrong** |\n"
        "\n4 trials, 3.0 minutes, 2.0 of them processor time.\n");
}

TEST_CASE("what a result lacks of the whole table is said trial by trial, and a whole one is called so") {
  auto whole = nlohmann::ordered_json::parse(R"({"cases": []})");
  for (const auto& trial : trials_of(tier_names(), table_seeds()))
    whole["cases"].push_back({{"case", trial.problem.name}, {"seed", trial.problem.seed}});
  CHECK(coverage_text(whole) == "Every trial of the whole table is in it, at seeds 1, 2, 3.\n");
  auto part = whole;
  part["cases"].erase(std::size_t{0});
  CHECK(coverage_text(part) == "Trials of the whole table that are not in it:\n\n- at seed 1: T0 one Gaussian\n");
}

TEST_CASE("the page's table is that of the stored result and says what that lacks, and every trial in it ended as it should") {
  const auto result = read_json(source_file("docs/measurements/truth.json"));
  const std::string page = read_file(source_file("docs/truth.md"), kMaxFile);
  CHECK(page.find(markdown_table(result)) != std::string::npos);
  CHECK(page.find(coverage_text(result)) != std::string::npos);
  REQUIRE_FALSE(result.at("cases").empty());
  for (const auto& entry : result.at("cases")) CHECK_MESSAGE(entry.at("pass").get<bool>(), entry.at("case").get<std::string>());
}
