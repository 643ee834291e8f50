#include "launch/truth/table_run.h"
#include "common/diffusion/tensors.h"
#include "common/error.h"
#include "common/files.h"
#include "launch/truth/outcome.h"
#include "tests/common/temporary_folder.h"
#include "tests/testing.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <tuple>

using namespace nabla;
using namespace nabla::truth;

namespace {

// A prior of one mode and few steps, so that training takes a moment.
const std::string kSmallCase = R"(name: small
prior: {weights: [1.0], means: [[0.2]], covariances: [[[0.8]]]}
reward: {slope: [0.5]}
steps: 8
)";

// The same with a threshold, so that no control is run; its final states.
Tensor samples_of(const TemporaryFolder& folder, const std::string& name, const std::string& slope) {
  write_file(folder.file("case.yaml"), "name: " + name +
                                           "\nprior: {weights: [1.0], means: [[0.2]], covariances: [[[0.8]]]}\nreward: {slope: [" + slope +
                                           "]}\nsteps: 8\nthreshold: 1.0\n");
  run_table({.case_files = {folder.file("case.yaml")}, .out = folder.file("out.safetensors"), .build = "a"});
  return load_tensors(folder.file("out.safetensors")).at("samples").clone();
}

}  // namespace

TEST_CASE("a table that was stopped goes on where it was, and another build begins anew") {
  const TemporaryFolder folder;
  const auto result_of = [&](const std::string& build) {
    return run_table({.tiers = {"T8"}, .seeds = {1}, .out = folder.file("truth.safetensors"), .build = build});
  };
  const auto first = result_of("a");
  CHECK(first.at("cases").size() == 5);
  // The seconds that a trial took are part of its result.
  CHECK(result_of("a") == first);
  CHECK(result_of("b") != first);
}

TEST_CASE("a case of one's own is held to half of what FL only reaches, and leaves its final states") {
  const TemporaryFolder folder;
  write_file(folder.file("case.yaml"), kSmallCase);
  const TableRun run{.case_files = {folder.file("case.yaml")}, .out = folder.file("out.safetensors"), .build = "a"};
  const auto cases = run_table(run).at("cases");
  REQUIRE(cases.size() == 2);
  CHECK(cases[0].at("case") == "small");
  CHECK(cases[0].at("pass") == true);
  CHECK(cases[0].at("exact").at("means")[0][0].get<double>() == doctest::Approx(0.2 + 0.8 * 0.5));
  CHECK(cases[1].at("expected") == "must fail");
  CHECK(cases[1].at("pass") == true);
  CHECK(cases[0].at("threshold").get<double>() == doctest::Approx(0.5 * cases[1].at("tv").get<double>()));
  const TensorMap tensors = load_tensors(run.out);
  REQUIRE(tensors.contains("samples"));
  CHECK(tensors.at("samples").size(0) >= 5000);
  CHECK(tensors.at("samples").size(1) == 1);
  CHECK(run_table(run).at("cases") == cases);
}

TEST_CASE("a tier that does not exist and a case file that is not there are refused before anything runs") {
  CHECK_THROWS_WITH_AS(run_table({.tiers = {"T9"}}), doctest::Contains("no tier 'T9'; known are T0"), Error);
  CHECK_THROWS_WITH_AS(run_table({.case_files = {"nowhere.yaml"}}), doctest::Contains("no case file 'nowhere.yaml'"), Error);
}

TEST_CASE("`samples` is that of the case just asked for, whether it ran or was kept, and a case of a taken name replaces the other") {
  const TemporaryFolder folder;
  const Tensor first = samples_of(folder, "a", "0.5"), second = samples_of(folder, "b", "-0.5");
  CHECK_FALSE(second.equal(first));
  CHECK(samples_of(folder, "a", "0.5").equal(first));
  CHECK(samples_of(folder, "a", "-0.5").equal(second));
  CHECK(samples_of(folder, "a", "0.5").equal(first));
  CHECK(load_tensors(folder.file("out.safetensors")).size() == 3);
}

TEST_CASE("two cases of one name and seed are refused") {
  const TemporaryFolder folder;
  write_file(folder.file("a.yaml"), kSmallCase);
  write_file(folder.file("b.yaml"), kSmallCase);
  const TableRun run{.case_files = {folder.file("a.yaml"), folder.file("b.yaml")}};
  CHECK_THROWS_WITH_AS(run_table(run), doctest::Contains("b.yaml: a case 'small' with seed 1 is there already"), Error);
}

TEST_CASE("a file that is no result of this command is not overwritten") {
  const TemporaryFolder folder;
  const std::string weights = folder.file("weights.safetensors"), notes = folder.file("notes.txt");
  save_tensors(weights, {{"weight", at::ones({2})}});
  write_file(notes, "not a safetensors file");
  for (const auto& path : {weights, notes}) {
    const std::string before = read_file(path, 1 << 20);
    CHECK_THROWS_WITH_AS(run_table({.tiers = {"T8"}, .seeds = {1}, .out = path}), doctest::Contains("it is not overwritten"), Error);
    CHECK(read_file(path, 1 << 20) == before);
  }
}

TEST_CASE("a control has to break its threshold with a number, and a case to hold it with one") {
  const double nothing = std::nan("");
  for (const auto& [expectation, value, pass] : {std::tuple{Expectation::kBreak, 2.0, true},
                                                 {Expectation::kBreak, 0.5, false},
                                                 {Expectation::kBreak, nothing, false},
                                                 {Expectation::kBreak, HUGE_VAL, false},
                                                 {Expectation::kHold, 0.5, true},
                                                 {Expectation::kHold, nothing, false}}) {
    Outcome outcome;
    outcome.expectation = expectation;
    outcome.checks.push_back({.metric = "distance", .value = value, .threshold = 1.0, .floor = {}});
    CHECK(outcome.pass() == pass);
  }
}
