#include "launch/truth/table_run.h"
#include "common/diffusion/tensors.h"
#include "common/error.h"
#include "common/files.h"
#include "tests/common/temporary_folder.h"
#include "tests/testing.h"

#include <nlohmann/json.hpp>

using namespace nabla;
using namespace nabla::truth;

namespace {

// A prior of one mode and few steps, so that training takes a moment.
const std::string kSmallCase = R"(name: small
prior: {weights: [1.0], means: [[0.2]], covariances: [[[0.8]]]}
reward: {slope: [0.5]}
steps: 8
)";

}  // namespace

TEST_CASE("a table that was stopped goes on where it was, and another build begins anew") {
  const TemporaryFolder folder;
  const auto result_of = [&](const std::string& build) {
    return run_table({.tiers = {"T8"}, .seeds = {1}, .out = folder.file("truth.safetensors"), .build = build});
  };
  const auto first = result_of("a");
  CHECK(first.at("cases").size() == 3);
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
