#include "launch/truth/gaussian_optimum.h"

#include <torch/types.h>

#include <cmath>
#include <vector>

namespace nabla::truth {

namespace {

struct Line {
  double slope = 0.0, offset = 0.0;
};

// The policy's mean: the minimum of the forward loss in the mean over y, with the terms of docs/objectives.md. mean# = sqrt(alpha) x.
Line best_mean(const Transition& transition, double strength, const Line& score) {
  const double alpha = transition.alpha_bar / transition.alpha_bar_next, variance = transition.sigma * transition.sigma;
  const double precision = strength / variance, backward = (1.0 - strength) / (1.0 - alpha);
  const double scale = precision + backward * alpha - score.slope;
  return {std::sqrt(alpha) * (precision + backward) / scale, score.offset / scale};
}

// The flow's score at x: what the reverse loss makes of that mean.
Line score_before(const Transition& transition, double strength, const Line& mean) {
  const double alpha = transition.alpha_bar / transition.alpha_bar_next, root = std::sqrt(alpha);
  const double precision = strength / (transition.sigma * transition.sigma), backward = (1.0 - strength) / (1.0 - alpha);
  return {precision * root * (mean.slope - root) - backward * (1.0 - root * mean.slope), (precision + backward) * root * mean.offset};
}

// d log p*_a - eta d log p_a, the latter of N(0,1).
Line exact_score(const TruthCase& problem, double alpha_bar) {
  const Mixture law = noised(exact_law(problem), alpha_bar);
  const double variance = law.covariances.item<double>();
  return {problem.pretrained_strength - 1.0 / variance, law.means.item<double>() / variance};
}

}  // namespace

Moments gaussian_optimum(const TruthCase& problem, const StepTable& table, FlowScore flow) {
  std::vector<Line> means(table.transitions.size());
  Line score{0.0, problem.beta * problem.reward.slope.item<double>()};
  for (std::size_t step = means.size(); step-- > 0;) {
    const Transition& transition = table.transitions[step];
    means[step] = best_mean(transition, problem.pretrained_strength, score);
    score = flow == FlowScore::kExact ? exact_score(problem, transition.alpha_bar)
                                      : score_before(transition, problem.pretrained_strength, means[step]);
  }
  Moments law{0.0, 1.0};
  for (std::size_t step = 0; step < means.size(); ++step) {
    const double sigma = table.transitions[step].sigma;
    law = {means[step].slope * law.mean + means[step].offset, means[step].slope * means[step].slope * law.variance + sigma * sigma};
  }
  return law;
}

}  // namespace nabla::truth
