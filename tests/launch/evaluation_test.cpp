#include "tests/testing.h"

#include "common/error.h"
#include "common/files.h"
#include "launch/evaluation/frechet.h"
#include "launch/evaluation/run_comparison.h"
#include "learner/picture_statistics.h"
#include "tests/common/temporary_folder.h"
#include "tests/launch/captured_run.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

#include <cmath>
#include <filesystem>

using namespace nabla;

namespace {

// tr(A + B - 2 (A B)^(1/2)) from the F x F covariances: the textbook way, by eigenvalues of A^(1/2) B A^(1/2).
double textbook_distance(const Tensor& a, const Tensor& b) {
  const Tensor mean_a = a.mean(0), mean_b = b.mean(0);
  const auto covariance = [](const Tensor& x) {
    const Tensor centred = x - x.mean(0, true);
    return centred.t().matmul(centred) / static_cast<double>(x.size(0) - 1);
  };
  const Tensor left = covariance(a), right = covariance(b);
  const auto [values, vectors] = at::linalg_eigh(left);
  const Tensor root = vectors.matmul(at::diag(values.clamp_min(0.0).sqrt())).matmul(vectors.t());
  const Tensor inner = at::linalg_eigvalsh(root.matmul(right).matmul(root)).clamp_min(0.0).sqrt();
  return ((mean_a - mean_b).square().sum() + left.trace() + right.trace() - 2.0 * inner.sum()).item<double>();
}

nlohmann::ordered_json example_comparison() {
  return {{"base", {{"reward_mean", 5.0}, {"reward_gain_sd", -1e-17}, {"true_gain_sd", 0.0}, {"diversity", 0.5}, {"frechet_to_base", 0.0}}},
          {"runs",
           {{{"label", "residual"},
             {"reward_mean", 7.0},
             {"reward_gain_sd", 1.0},
             {"true_gain_sd", 0.5},
             {"diversity", 0.45},
             {"frechet_to_base", 4.0}},
            {{"label", "residual"},
             {"reward_mean", 6.9},
             {"reward_gain_sd", 0.9},
             {"true_gain_sd", 0.6},
             {"diversity", 0.44},
             {"frechet_to_base", 3.0}},
            {{"label", "draft <1>"},
             {"reward_mean", 9.0},
             {"reward_gain_sd", 2.0},
             {"true_gain_sd", -0.7},
             {"diversity", 0.1},
             {"frechet_to_base", 9.0}}}}};
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("the Frechet distance of small samples equals the one from full covariances") {
  at::manual_seed(3);
  const Tensor a = at::randn({7, 5}, at::kDouble), b = at::randn({9, 5}, at::kDouble) * 1.7 + 0.4;
  CHECK(frechet_distance(a, b) == doctest::Approx(textbook_distance(a, b)).epsilon(1e-9));
  CHECK(frechet_distance(a, a) == doctest::Approx(0.0).epsilon(1e-9));
}

TEST_CASE("a shift alone costs its square") {
  at::manual_seed(4);
  const Tensor a = at::randn({6, 40}, at::kDouble);
  CHECK(frechet_distance(a, a + 0.5) == doctest::Approx(40 * 0.25).epsilon(1e-9));
}

TEST_CASE("a shift of one prompt alone counts for that prompt") {
  at::manual_seed(5);
  const Tensor a = at::randn({8, 3}, at::kDouble);
  Tensor b = a.clone();
  b.narrow(0, 4, 4) += 1.0;
  const auto distances = frechet_by_prompt(a, b, 4);
  REQUIRE(distances.size() == 2);
  CHECK(std::abs(distances[0]) < 1e-9);
  CHECK(distances[1] == doctest::Approx(3.0).epsilon(1e-9));
}

TEST_CASE("features without a distance are refused") {
  CHECK_THROWS_AS(frechet_distance(at::zeros({1, 3}), at::zeros({4, 3})), Error);
  CHECK_THROWS_AS(frechet_distance(at::zeros({4, 3}), at::zeros({4, 2})), Error);
}

TEST_CASE("spread and deviation within prompts") {
  CHECK(spread_of({1, 3}).mean == 2.0);
  CHECK(spread_of({1, 3}).deviation == 1.0);
  CHECK(spread_of({}).mean == 0.0);
  // Two prompts far from each other: only what differs within counts.
  CHECK(deviation_within_prompts({1, 3, 101, 103}, 2) == 1.0);
  CHECK(deviation_within_prompts({}, 2) == 0.0);
}

TEST_CASE("the plot shows one dot a run and one key a label, in every panel") {
  const std::string svg = pareto_plot(example_comparison());
  CHECK(svg.starts_with("<svg"));
  CHECK(count_of(svg, "xmlns=\"http://www.w3.org/2000/svg\"") == 1);
  CHECK(count_of(svg, "<svg") == 4);
  CHECK(count_of(svg, "<circle") == 3 * 4);
  CHECK(count_of(svg, "class=\"key\"") == 3 * 4);
  CHECK(svg.find("draft &lt;1&gt;") != std::string::npos);
  for (const char* outside : {"href", "url(", "@import"}) CHECK(count_of(svg, outside) == 0);
  auto without = example_comparison();
  without["base"].erase("true_gain_sd");
  CHECK(count_of(pareto_plot(without), "<circle") == 2 * 4);
}

TEST_CASE("the front passes by what another run exceeds in both") {
  const std::string svg = pareto_plot(example_comparison());
  std::vector<std::size_t> corners;
  for (std::size_t at = svg.find("<polyline"); at != std::string::npos; at = svg.find("<polyline", at + 1)) {
    corners.push_back(count_of(svg.substr(at, svg.find("/>", at) - at), ","));
  }
  // Of the reward: base, the first residual run, draft. Of the true reward: base and both residual runs, for draft lost of both. By the distance every
  // run is further away than one of less reward.
  CHECK(corners == std::vector<std::size_t>{3, 3, 4});
}

TEST_CASE("a run that exceeds all others in both keeps its own dot") {
  auto comparison = example_comparison();
  auto run = comparison["runs"][0];
  run["diversity"] = 0.6;
  comparison["runs"] = nlohmann::ordered_json::array({run});
  const std::string svg = pareto_plot(comparison);
  // The base and the run in each panel; a front by the distance alone, where the base is nearest.
  CHECK(count_of(svg, "<circle") == 3 * 2);
  CHECK(count_of(svg, "class=\"key\"") == 3 * 2 + 1);
}

TEST_CASE("the table has a line for the base and for each run") {
  const std::string table = comparison_table(example_comparison());
  CHECK(count_of(table, "\n") == 5);
  CHECK(table.find("9.000") != std::string::npos);
  CHECK(table.find(" 0.000 ") != std::string::npos);
  CHECK(table.find("-0.000") == std::string::npos);
}

TEST_CASE("a version stands behind the folder of its run") {
  const TemporaryFolder folder;
  CHECK(names_run(folder.path()));
  CHECK(names_run(folder.path() + "@12"));
  for (const char* behind : {"@", "@x", "@-1", "@1x", "x@1"}) CHECK_FALSE(names_run(folder.path() + behind));
  std::filesystem::create_directory(folder.file("a@3"));
  CHECK_THROWS_WITH_AS(open_judged_run("a", folder.file("a@3"), {}), doctest::Contains("a@3/config.yaml"), Error);
  CHECK_THROWS_WITH_AS(open_judged_run("a", folder.path() + "@3", {}), doctest::Contains((folder.path() + "/config.yaml").c_str()), Error);
}

TEST_CASE("a run that has nothing to judge is refused with the way out") {
  const TemporaryFolder folder;
  write_file(folder.file("config.yaml"), "seed: 1\n");
  CHECK_THROWS_WITH_AS(open_judged_run("a", folder.path(), {}), doctest::Contains("@10"), Error);
}

TEST_CASE("a folder that is no run is refused by name") {
  CHECK_THROWS_WITH_AS(open_judged_run("a", "/nonexistent/run", {}), doctest::Contains("/nonexistent/run/config.yaml"), Error);
}

TEST_CASE("a word whose first part names a setting is one, though its value is a folder, and any other names a run") {
  const TemporaryFolder folder;
  const auto refused = [](const std::string& word) { return run_nabla({"eval", word}); };
  const auto setting = refused("pretrained.model=" + folder.path()), unknown = refused("sampling.num_step=5"),
             gone = refused("residual=" + folder.file("gone")), empty = refused("residual=" + folder.path());
  CHECK(setting.code == 2);
  CHECK(setting.err.find("name at least one run folder") != std::string::npos);
  CHECK(unknown.code == 2);
  CHECK(unknown.err.find("did you mean 'sampling.num_steps'") != std::string::npos);
  CHECK(gone.code == 2);
  CHECK(gone.err.find("there is no folder '" + folder.file("gone") + "'") != std::string::npos);
  CHECK(empty.code == 3);
  CHECK(empty.err.find(folder.path() + "/config.yaml") != std::string::npos);
}

TEST_CASE("runs are judged on one list of prompts: others in a run's own list are refused, more of them are not") {
  const TemporaryFolder folder;
  const auto run_with = [&](const std::string& name, const std::string& prompts, std::int64_t count) {
    write_file(folder.file(name), prompts);
    JudgedRun run{.label = name, .path = folder.file(name + ".run"), .config = {}};
    run.config.pretrained.model = folder.file("no-model");
    run.config.experiment.prompt_fn = "file";
    run.config.experiment.prompt_file = folder.file(name);
    run.config.eval.prompts = count;
    return run;
  };
  const JudgedRun two = run_with("two", "a\nb\n", 2), three = run_with("three", "a\nb\nc\n", 3), other = run_with("other", "a\nc\n", 2);
  CHECK_THROWS_WITH_AS(compare_runs({two, other}, {}), doctest::Contains("other.run are others than those of"), Error);
  // Past the prompts, the model is looked for.
  CHECK_THROWS_WITH_AS(compare_runs({two, three}, {}), doctest::Contains("no-model"), Error);
  CHECK_THROWS_WITH_AS(compare_runs({two, other}, {.prompt_file = folder.file("two")}), doctest::Contains("no-model"), Error);
}
