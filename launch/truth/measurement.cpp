#include "launch/truth/measurement.h"

#include "launch/truth/line_truth.h"
#include "launch/truth/metrics.h"

#include <torch/types.h>

#include <cmath>

namespace nabla::truth {

namespace {

constexpr std::int64_t kLineSamples = 8192, kPlaneSamples = 40000;
// Streams of truth draws, far from those of any slot.
constexpr std::uint64_t kTruthStream = 1ULL << 40;

// Mass of a density in each mode: a point belongs to the mode that most likely made it.
Tensor mass_by_mode(const Mixture& law, const Grid& grid, const GridValues& density) {
  const Tensor mode = MixtureDensity(law).most_likely_mode(column_of(grid.points()));
  return at::bincount(mode, torch::tensor(density, at::kDouble) * grid.spacing, law.weights.size(0));
}

void measure_line(const Experiment& experiment, Measurement& measurement) {
  const LineTruth truth(experiment.problem, experiment.table, experiment.reference);
  const Grid& grid = truth.grid();
  const GridValues law = truth.final_law(experiment.change());
  const Moments found = moments(grid, law), wanted = moments(grid, truth.target());
  measurement.values = {{"tv", total_variation(grid, law, truth.target())},
                        {"mean", found.mean},
                        {"variance", found.variance},
                        {"target_mean", wanted.mean},
                        {"target_variance", wanted.variance}};
  measurement.weights = mass_by_mode(exact_law(experiment.problem), grid, law);
  if (experiment.problem.pretrained_strength != 1.0) return;
  const GridValues fixed_point = truth.fixed_point_law();
  measurement.floors["tv"] = total_variation(grid, fixed_point, truth.target());
  measurement.fixed_point = moments(grid, fixed_point);
}

void measure_plane(const Experiment& experiment, Measurement& measurement) {
  const Mixture law = exact_law(experiment.problem);
  const auto truth = [&](std::uint64_t index) {
    return draw(law, kPlaneSamples, Philox(experiment.problem.seed, RandomPurpose::kEvaluationNoise, kTruthStream + index));
  };
  const Tensor first = truth(0), second = truth(1);
  measurement.weights = mode_weights(law, measurement.samples);
  const auto distances = [&](const Tensor& samples) {
    const Tensor found = mode_weights(law, samples);
    return std::map<std::string, double>{{"kl_weights", kl_of_weights(found, law.weights)},
                                         {"tv_weights", 0.5 * (found - law.weights).abs().sum().item<double>()},
                                         {"sliced_w1", sliced_w1(samples, first)},
                                         {"mmd", mean_discrepancy(samples, first)}};
  };
  measurement.values = distances(measurement.samples);
  measurement.floors = distances(second);
}

}  // namespace

Measurement measure(const Experiment& experiment) {
  const TruthCase& problem = experiment.problem;
  const bool line = problem.dimensions() == 1;
  Measurement measurement;
  measurement.samples =
      sample_final_states(problem, experiment.table, experiment.reference, experiment.change(), line ? kLineSamples : kPlaneSamples);
  if (line) {
    measure_line(experiment, measurement);
  } else {
    measure_plane(experiment, measurement);
  }
  return measurement;
}

Measurement train_and_measure(const TruthCase& problem) {
  Experiment experiment(problem);
  experiment.train();
  return measure(experiment);
}

std::string main_metric(const TruthCase& problem) { return problem.dimensions() == 1 ? "tv" : "kl_weights"; }

}  // namespace nabla::truth
