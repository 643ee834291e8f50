#include "launch/truth/table_training.h"

#include "common/error.h"
#include "learner/losses/residual_nabla_db.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace nabla::truth {

namespace {

constexpr double kSettled = 1e-6;  // root mean square change of a level, where trajectories are, between two versions
constexpr std::size_t kMostVersions = 300;
// Without an anchor each goes on by as much as the one before: more of them say nothing more.
constexpr std::size_t kUnanchoredVersions = 3;
constexpr std::int64_t kLineSlots = 8192, kPlaneSlots = 32768;  // trajectories of the base model whose chosen transitions are trained on
constexpr std::int64_t kMostStates = 2000;                      // of them a transition; more of them stand for each other
// A ridge that needs more nodes than so many times those of the finest table falls between its nodes: what is learned says nothing of the scheme.
constexpr double kCoarsest = 16.0;

Parabolas joined(const Parabolas& a, const Parabolas& b) {
  return {at::cat({a.x, b.x}), at::cat({a.slope, b.slope}), at::cat({a.curvature, b.curvature})};
}

double reach_of(const TruthCase& problem) {
  const double deviations = problem.dimensions() == 1 ? 6.0 : 4.0;
  double reach = deviations;
  for (const Mixture& law : {problem.prior, exact_law(problem)}) {
    const Tensor ends = law.means.abs() + deviations * law.covariances.diagonal(0, 1, 2).sqrt();
    reach = std::max(reach, ends.max().item<double>());
  }
  return reach;
}

// How steeply the shares of two modes change between them where they are furthest apart and narrowest: the flow has a ridge there, of that width and
// whatever the level of a constant volume, the log of what the modes' weights change by. A table that is coarser gets its volume wrong, for this level and
// all before it.
double steepness(const TruthCase& problem, const StepTable& table, std::size_t level) {
  const bool is_final = level == table.transitions.size();
  const Mixture law = noised(problem.prior, is_final ? table.transitions.back().alpha_bar_next : table.transitions[level].alpha_bar);
  const double distance = at::cdist(law.means, law.means).max().item<double>();
  return distance / law.covariances.diagonal(0, 1, 2).min().item<double>();
}

}  // namespace

Tensor cover_of(const TableAxis& axis, std::int64_t dimensions) {
  if (dimensions == 1) return at::linspace(axis.low, axis.high, 2 * axis.nodes - 1, at::kDouble).unsqueeze(1);
  const Tensor points = at::linspace(axis.low, axis.high, axis.nodes, at::kDouble);
  return at::stack({points.repeat_interleave(axis.nodes), points.repeat({axis.nodes})}, 1);
}

std::vector<TableAxis> axes_of(const TruthCase& problem, const StepTable& table) {
  const double reach = reach_of(problem);
  if (problem.dimensions() == 1) {
    const TableAxis axis{-reach, reach, static_cast<std::int64_t>(std::ceil(32.0 * reach)) + 1};
    return std::vector<TableAxis>(table.transitions.size() + 1, axis);
  }
  // A unit of steepness: sums over such a ridge err by 0.5%. For y that never follow, a level learns from the slopes of the next one's table, not from
  // its sums, and they have to be right; each level is then solved for once.
  const bool follows = problem.policy_lag.has_value();
  const double cells = follows ? 0.4 : 1.0;
  const double fewest = 64, most = follows ? 128 : 256;
  std::vector<TableAxis> axes;
  for (std::size_t level = 0; level <= table.transitions.size(); ++level) {
    const double nodes = std::ceil(2.0 * reach * cells * steepness(problem, table, level));
    if (nodes > kCoarsest * most) {
      throw usage_error(
          "the modes are too thin for how far apart they are: the flow's ridge between them asks for tables of {:.4g} nodes an axis, where "
          "{} is the most; bring the modes nearer, widen them, or set 'learner: mlp'",
          nodes, most);
    }
    axes.push_back({-reach, reach, static_cast<std::int64_t>(std::clamp(nodes, fewest, most))});
  }
  return axes;
}

TableTraining::TableTraining(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference)
    : problem_(problem),
      table_(table),
      reference_(reference),
      objective_(make_objective(objective_of(problem))),
      axes_(axes_of(problem, table)),
      maker_(problem, table, reference),
      change_(axes_, problem.dimensions()),
      behaviour_(axes_, problem.dimensions()),
      flow_(axes_, problem.dimensions()) {
  const std::int64_t num_slots = problem.dimensions() == 1 ? kLineSlots : kPlaneSlots;
  const auto trajectories = sample_slots(problem, table, reference, NoChange(), 0, num_slots);
  const auto slots = slots_by_transition(problem, 0, num_slots);
  for (std::size_t step = 0; step < table.transitions.size(); ++step)
    states_.push_back(states_of(step, trajectories[step].index_select(0, torch::tensor(slots[step], at::kLong))));
}

States TableTraining::states_of(std::size_t step, const Tensor& x) const {
  const Tensor cover = cover_of(axes_[step], problem_.dimensions());
  const Tensor some = x.narrow(0, 0, std::min(x.size(0), kMostStates));
  const double weight = static_cast<double>(x.size(0)) / static_cast<double>(some.size(0));
  const auto weights = [](const Tensor& points, double value) { return at::full({points.size(0)}, value, at::kDouble); };
  return {at::cat({some, cover}), at::cat({weights(some, weight), weights(cover, 1.0)}), some.size(0)};
}

// As fine as what is to be averaged, on the line the table, in the plane the ridge: points further apart would not see all of it, and under stale y, where
// the reverse scores no longer cancel in the mean, the errors would grow from level to level.
NoisePoints TableTraining::noise(std::size_t step) const {
  constexpr double kFinest = 0.5;
  const bool follows = problem_.policy_lag.has_value();
  const double widest = follows ? 1.0 : 0.8, ridge = follows ? 1.8 : 1.2;
  const double sigma = table_.transitions[step].sigma;
  if (problem_.dimensions() == 1) return even_points(std::min(kFinest, 2.0 * axes_[step].spacing() / sigma));
  return even_disc(std::clamp(ridge / (steepness(problem_, table_, step + 1) * sigma), kFinest, widest));
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
  std::optional<Tensor> drawn_by;
  while (versions.size() <= most_versions()) {
    const Tensor behaviour = versions[version_that_draws(versions.size() - 1)];
    if (drawn_by && drawn_by->is_same(behaviour) && !forward_trains_flow) {
      if (!problem_.policy_lag) return;
      // y of the same policy once more: the same minimum, and the same tensor.
      versions.push_back(versions.back());
      continue;
    }
    drawn_by = behaviour;
    behaviour_.set_values(step, behaviour);
    const TransitionBatch batch = rows(step);
    const Tensor before = change_.at(step, states_[step].x);
    train_policy(step, batch);
    if (forward_trains_flow) train_flow_forward_too(step, batch, later);
    if (!stays_near(step)) return change_.set_values(step, versions.back());
    versions.push_back(change_.values(step));
    if (settles() && size_of_move(step, before) < kSettled) return;
  }
}

// An unanchored policy runs away to infinity: its last version that does not is one that can be measured.
bool TableTraining::stays_near(std::size_t step) const {
  if (problem_.tampering != Tampering::kFreshNoise) return true;
  const Tensor x = states_[step].x.narrow(0, 0, states_[step].num_visited);
  const Tensor mean = transition_mean(table_, table_.transitions[step], x, reference_.eps(step, x) + change_.at(step, x));
  return (mean.abs() <= 2.0 * axes_[step].high).all().item<bool>();
}

std::size_t TableTraining::most_versions() const {
  return problem_.tampering == Tampering::kFreshNoise ? kUnanchoredVersions : kMostVersions;
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
