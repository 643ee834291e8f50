#include "launch/truth/table_training.h"

#include "learner/losses/residual_nabla_db.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace nabla::truth {

namespace {

constexpr double kSettled = 1e-6;  // root mean square change of a level, where trajectories are, between two versions
constexpr std::size_t kMostVersions = 30;
constexpr std::size_t kUnanchoredVersions =
    3;                                      // without an anchor each goes on by as much as the one before: more of them say nothing more
constexpr std::int64_t kMostStates = 2000;  // of trajectories a transition; more of them stand for each other

Parabolas joined(const Parabolas& a, const Parabolas& b) {
  return {at::cat({a.x, b.x}), at::cat({a.slope, b.slope}), at::cat({a.curvature, b.curvature})};
}

// The nodes and the middles between them; in the plane the nodes alone.
Tensor cover_of(const TableAxis& axis, std::int64_t dimensions) {
  if (dimensions == 1) return at::linspace(axis.low, axis.high, 2 * axis.nodes - 1, at::kDouble).unsqueeze(1);
  const Tensor points = at::linspace(axis.low, axis.high, axis.nodes, at::kDouble);
  return at::stack({points.repeat_interleave(axis.nodes), points.repeat({axis.nodes})}, 1);
}

}  // namespace

TableOptions table_options(const TruthCase& problem) {
  const bool line = problem.dimensions() == 1;
  double reach = line ? 6.0 : 4.0;
  for (const Mixture& law : {problem.prior, exact_law(problem)}) {
    const Tensor ends = law.means.abs() + (line ? 6.0 : 4.0) * law.covariances.diagonal(0, 1, 2).sqrt();
    reach = std::max(reach, ends.max().item<double>());
  }
  TableOptions options;
  options.axis = {-reach, reach, line ? static_cast<std::int64_t>(std::ceil(32.0 * reach)) + 1 : 64};
  options.num_slots = line ? 8192 : 32768;
  return options;
}

TableTraining::TableTraining(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference, const TableOptions& options)
    : problem_(problem),
      table_(table),
      reference_(reference),
      objective_(make_objective(objective_of(problem))),
      options_(options),
      maker_(problem, table, reference),
      change_(table.transitions.size(), options.axis, problem.dimensions()),
      behaviour_(table.transitions.size(), options.axis, problem.dimensions()),
      flow_(table.transitions.size() + 1, options.axis, problem.dimensions()) {
  const auto trajectories = sample_slots(problem, table, reference, NoChange(), 0, options.num_slots);
  const auto slots = slots_by_transition(problem, 0, options.num_slots);
  for (std::size_t step = 0; step < table.transitions.size(); ++step)
    states_.push_back(states_of(trajectories[step].index_select(0, torch::tensor(slots[step], at::kLong))));
}

States TableTraining::states_of(const Tensor& x) const {
  const Tensor cover = cover_of(options_.axis, problem_.dimensions());
  const Tensor some = x.narrow(0, 0, std::min(x.size(0), kMostStates));
  const double weight = static_cast<double>(x.size(0)) / static_cast<double>(some.size(0));
  const auto weights = [](const Tensor& points, double value) { return at::full({points.size(0)}, value, at::kDouble); };
  return {at::cat({some, cover}), at::cat({weights(some, weight), weights(cover, 1.0)}), some.size(0)};
}

// On the line as fine as the table: points further apart would not see errors as narrow as a node, and under stale y, where the reverse scores no
// longer cancel in the mean, those would grow from level to level.
NoisePoints TableTraining::noise(std::size_t step) const {
  constexpr double kWidest = 0.5;
  if (problem_.dimensions() > 1) return gauss_hermite(options_.noise_order, problem_.dimensions());
  return even_points(std::min(kWidest, 2.0 * options_.axis.spacing() / table_.transitions[step].sigma));
}

TransitionBatch TableTraining::rows(std::size_t step) const {
  return maker_.rows(step, states_[step], noise(step), change_, problem_.policy_lag == 0 ? change_ : behaviour_);
}

void TableTraining::run() {
  for (std::size_t step = table_.transitions.size(); step-- > 0;) {
    train_transition(step);
    if (problem_.flow) train_flow(step, rows(step));
  }
}

// Versions of one level. The flow at x has to wait for the policy there, and is trained after it.
void TableTraining::train_transition(std::size_t step) {
  std::vector<Tensor> versions{change_.values(step)};
  const bool forward_trains_flow = problem_.flow && problem_.flow_from_forward_loss && !maker_.is_terminal(step);
  const TransitionBatch later = forward_trains_flow ? rows(step + 1) : TransitionBatch{};
  std::optional<std::size_t> drawn_by;
  while (versions.size() <= most_versions()) {
    const std::size_t behaviour = version_that_draws(versions.size() - 1);
    if (drawn_by == behaviour && !forward_trains_flow) {
      // y of the same policy once more: the same minimum.
      versions.push_back(versions.back());
      continue;
    }
    drawn_by = behaviour;
    behaviour_.set_values(step, versions[behaviour]);
    const TransitionBatch batch = rows(step);
    const Tensor before = change_.at(step, states_[step].x);
    train_policy(step, batch);
    if (forward_trains_flow) train_flow_forward_too(step, batch, later);
    versions.push_back(change_.values(step));
    if (settles() && size_of_move(step, before) < kSettled) return;
  }
}

std::size_t TableTraining::most_versions() const {
  if (settles()) return kMostVersions;
  return problem_.tampering == Tampering::kFreshNoise ? kUnanchoredVersions : options_.max_versions;
}

// The version whose y the one after `newest` is trained on: policy_lag before it; while there is none, and without
// end of the lag, the base model.
std::size_t TableTraining::version_that_draws(std::size_t newest) const {
  if (!problem_.policy_lag) return 0;
  const auto lag = static_cast<std::size_t>(*problem_.policy_lag);
  return newest > lag ? newest - lag : 0;
}

// Where no trajectory comes, some levels have no fixed point that versions would run into.
double TableTraining::size_of_move(std::size_t step, const Tensor& before) const {
  const Tensor now = change_.at(step, states_[step].x);
  const std::int64_t visited = states_[step].num_visited;
  return std::sqrt((now - before).narrow(0, 0, visited).square().sum(1).mean().item<double>());
}

Predictions TableTraining::predict(std::size_t step, const TransitionBatch& batch) const {
  // The first rows are the states, each further point of noise repeats them.
  const Tensor x = as_points(batch.x).narrow(0, 0, batch.num_slots);
  const auto at_rows = [&](const Tensor& states) { return as_latents(states.repeat({batch.x.size(0) / batch.num_slots, 1})); };
  Predictions predictions;
  predictions.eps = at_rows(reference_.eps(step, x) + change_.at(step, x));
  if (!problem_.flow) return predictions;
  predictions.flow_x = at_rows(flow_.at(step, x));
  predictions.flow_y = as_latents(flow_.at(step + 1, as_points(batch.y)));
  return predictions;
}

// The production loss is a sum over rows of parabolas in one of the predictions: two gradients give them exactly. They stand at `x`; rows that
// have the same one, under each point of noise, are added up.
Parabolas TableTraining::parabolas(const TransitionBatch& batch, const Predictions& predictions, Tensor Predictions::*which,
                                   const Tensor& x) const {
  const auto slope_at = [&](const Tensor& values) {
    Predictions moved = predictions;
    moved.*which = values.detach().requires_grad_(true);
    return torch::autograd::grad({objective_->compute(batch, moved).loss}, {moved.*which})[0].flatten(1);
  };
  const Tensor slope = slope_at(predictions.*which), curvature = slope_at(predictions.*which + 1.0) - slope;
  const auto by_place = [&](const Tensor& rows) { return rows.view({-1, x.size(0), rows.size(1)}).sum(0); };
  return {x, by_place(slope), by_place(curvature).select(1, 0)};
}

void TableTraining::train_policy(std::size_t step, const TransitionBatch& batch) {
  change_.minimize(step, parabolas(batch, predict(step, batch), &Predictions::eps, states_[step].x));
}

// At x by the reverse loss, at the final state by the terminal loss.
void TableTraining::train_flow(std::size_t step, const TransitionBatch& batch) {
  const Predictions predictions = predict(step, batch);
  if (maker_.is_terminal(step)) flow_.minimize(step + 1, parabolas(batch, predictions, &Predictions::flow_y, as_points(batch.y)));
  flow_.minimize(step, parabolas(batch, predictions, &Predictions::flow_x, states_[step].x));
}

// The level between two transitions learns from both: y of the forward loss, x of the next transition's reverse loss.
void TableTraining::train_flow_forward_too(std::size_t step, const TransitionBatch& batch, const TransitionBatch& later) {
  const Parabolas at_y = parabolas(batch, predict(step, batch), &Predictions::flow_y, as_points(batch.y));
  const Parabolas at_x = parabolas(later, predict(step + 1, later), &Predictions::flow_x, states_[step + 1].x);
  flow_.minimize(step + 1, joined(at_y, at_x));
}

}  // namespace nabla::truth
