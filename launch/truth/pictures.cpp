#include "launch/truth/pictures.h"

#include "common/files.h"
#include "common/log.h"
#include "launch/svg_chart.h"
#include "launch/truth/experiment.h"
#include "launch/truth/line_truth.h"
#include "launch/truth/tier_cases.h"
#include "launch/truth/trial.h"

#include <torch/types.h>

#include <filesystem>

namespace nabla::truth {

namespace {

constexpr double kShownReach = 3.0;

void write_chart(const std::string& path, const Chart& chart) {
  write_file(path, draw_chart_file({chart}));
  log_info("[truth] {} is drawn", path);
}

ChartSeries curve(const std::string& name, const Grid& grid, const GridValues& values) {
  ChartSeries series{.name = name, .x = {}, .y = {}, .spread = {}};
  for (std::size_t i = 0; i < grid.size; i += 2) {
    if (std::abs(grid.point(i)) > kShownReach) continue;
    series.x.push_back(grid.point(i));
    series.y.push_back(values[i]);
  }
  return series;
}

void draw_densities(const std::string& path, const TruthCase& problem) {
  Experiment learned(problem), baseline(fl_only(problem));
  learned.train();
  baseline.train();
  const LineTruth truth(learned.problem, learned.table, learned.reference);
  const Grid& grid = truth.grid();
  write_chart(path, {.title = "Final law: " + problem.name,
                     .x_label = "x",
                     .series = {curve("base model", grid, truth.reference_laws().back()), curve("target", grid, truth.target()),
                                curve("learned", grid, truth.final_law(learned.change())),
                                curve("FL only", grid, truth.final_law(baseline.change()))},
                     .from_zero = true});
}

GridValues slopes_of(const Grid& grid, const GridValues& values) {
  GridValues slopes(values.size(), 0.0);
  for (std::size_t i = 1; i + 1 < values.size(); ++i) slopes[i] = (values[i + 1] - values[i - 1]) / (2.0 * grid.spacing);
  return slopes;
}

// beta gamma d log R + g against the exact d log flow / dx, at a few levels.
void draw_flow(const std::string& path, const TruthCase& problem) {
  Experiment learned(problem);
  learned.train();
  const at::NoGradGuard no_grad;
  const LineTruth truth(learned.problem, learned.table, learned.reference);
  const RowMaker maker(learned.problem, learned.table, learned.reference);
  const auto log_flows = truth.log_flows();
  const Tensor points = column_of(truth.grid().points());
  Chart chart{.title = "Score of the residual flow: exact (a) and learned", .x_label = "x", .series = {}};
  for (const std::size_t step : {std::size_t{15}, std::size_t{25}, std::size_t{35}}) {
    const double a = learned.table.transitions[step].alpha_bar;
    const Tensor score =
        problem.beta * a * maker.forward_looking_gradient(step, points, learned.change()) + learned.flow().at(step, points);
    chart.series.push_back(curve(fmt::format("a={:.2f}", a), truth.grid(), slopes_of(truth.grid(), log_flows[step])));
    chart.series.push_back(curve("learned", truth.grid(), values_of(score)));
  }
  write_chart(path, chart);
}

ChartSeries distances(const std::string& name, const TruthCase& problem) {
  Experiment experiment(problem);
  const LineTruth truth(experiment.problem, experiment.table, experiment.reference);
  ChartSeries series{.name = name, .x = {}, .y = {}, .spread = {}};
  MlpTraining training(experiment.problem, experiment.table, experiment.reference);
  training.run([&](std::int64_t updates) {
    series.x.push_back(static_cast<double>(updates));
    series.y.push_back(total_variation(truth.grid(), truth.final_law(training.change()), truth.target()));
  });
  return series;
}

void draw_distances(const std::string& path, const TruthCase& problem) {
  write_chart(path, {.title = "Total variation to the target, small network",
                     .x_label = "updates",
                     .series = {distances("FL only", fl_only(problem)), distances("with flow", problem)},
                     .from_zero = true});
}

TruthCase with_seed(TruthCase problem, std::uint64_t seed) {
  problem.seed = seed;
  return problem;
}

}  // namespace

void draw_pictures(const std::string& folder, std::uint64_t seed) {
  std::filesystem::create_directories(folder);
  draw_densities(folder + "/truth-linear.svg", with_seed(linear_case(), seed));
  draw_densities(folder + "/truth-quadratic.svg", with_seed(quadratic_case(), seed));
  draw_flow(folder + "/truth-flow.svg", with_seed(linear_case(), seed));
  draw_distances(folder + "/truth-updates.svg", with_seed(network_case(), seed));
}

}  // namespace nabla::truth
