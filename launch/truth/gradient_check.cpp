#include "launch/truth/gradient_check.h"

#include "launch/truth/mlp_field.h"
#include "launch/truth/outcome.h"
#include "launch/truth/transition_rows.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace nabla::truth {

namespace {

constexpr double kStep = 1e-4;
constexpr int kDirections = 4;

// A term of the loss by its name in LossOutput::terms.
constexpr const char* kForward = "loss_forward";
constexpr const char* kReverse = "losses_backward";
constexpr const char* kTerminal = "loss_terminal";
constexpr const char* kRegulariser = "unetreg";

// What differences of a term take along when parameters move.
enum class Targets {
  kHeld,      // the networks' predictions alone: rows stay as an actor sent them
  kComputed,  // reward gradients and reverse scores too, which the policy decides
};

Tensor random_like(const Tensor& tensor, Philox& stream) {
  const Tensor values = at::empty(tensor.sizes(), at::kDouble);
  for (double* value = values.data_ptr<double>(); value != values.data_ptr<double>() + values.numel(); ++value) *value = stream.normal();
  return values;
}

// The forward loss has no weight to switch it off; every other term is there only if it is `term`.
ObjectiveConfig config_of(const TruthCase& problem, const std::string& term) {
  ObjectiveConfig config = objective_of(problem);
  config.reverse_loss_scale = term == kReverse ? 1.0 : 0.0;
  config.unet_reg_scale = term == kRegulariser ? 1.0 : 0.0;
  return config;
}

// Two networks with random weights and rows of four transitions, the terminal one among them.
class GradientScene {
 public:
  explicit GradientScene(const TruthCase& problem)
      : problem_(problem),
        table_(step_table_of(problem)),
        reference_(problem.prior, table_),
        maker_(problem_, table_, reference_),
        stream_(problem.seed, RandomPurpose::kShuffle, 0),
        change_(table_, reference_, std::vector<double>(table_.transitions.size() + 1, 0.3), problem.dimensions(), stream_),
        flow_(table_, reference_, std::vector<double>(table_.transitions.size() + 1, 1.0), problem.dimensions(), stream_) {
    const at::NoGradGuard no_grad;
    for (const MlpField* field : {&change_, &flow_}) {
      for (Tensor parameter : field->parameters()) parameter.add_(random_like(parameter, stream_), 0.3);
    }
    const std::size_t last = table_.transitions.size() - 1;
    for (const std::size_t step : {std::size_t{0}, last / 2, last - 1, last}) {
      const Tensor x = random_like(at::empty({8, problem.dimensions()}), stream_);
      const States states{x, at::full({8}, 0.1, at::kDouble), 8};
      rows_.push_back({step, x, maker_.rows(step, states, gauss_hermite(2, problem.dimensions()), change_, change_)});
      // Another anchor than the policy itself, so that the regulariser has a gradient.
      rows_.back().batch.eps_behaviour = rows_.back().batch.eps_behaviour + 0.1;
    }
  }

  // The production loss's gradient that is this term's, along random directions of the field's parameters, against differences of the term.
  GradientError error(const std::string& name, const std::string& term, const MlpField& field, Targets targets = Targets::kHeld) {
    const auto gradients = gradients_of(term, field.parameters());
    GradientError found{name};
    for (int i = 0; i < kDirections; ++i) {
      const auto direction = random_direction(field);
      const double difference = difference_along(term, field, direction, kStep, targets);
      const double coarser = difference_along(term, field, direction, 2.0 * kStep, targets);
      found.relative = worse(std::abs(slope_along(gradients, direction) - difference) / std::abs(difference), found.relative);
      found.rounding = worse(std::abs(coarser - difference) / std::abs(difference), found.rounding);
    }
    return found;
  }

  StoppedGradient stopped(const std::string& name, const std::string& term, const MlpField& field) {
    const auto gradients = gradients_of(term, field.parameters());
    StoppedGradient found{name, 0.0, std::numeric_limits<double>::infinity(), 0.0};
    for (int i = 0; i < kDirections; ++i) {
      const auto direction = random_direction(field);
      const double slope = slope_along(gradients, direction),
                   difference = difference_along(term, field, direction, kStep, Targets::kComputed);
      found.gradient = worse(std::abs(slope), found.gradient);
      found.difference = std::min(found.difference, std::abs(difference));
      found.relative = worse(std::abs(slope - difference) / std::abs(difference), found.relative);
    }
    return found;
  }

  const MlpField& change() const { return change_; }
  const MlpField& flow() const { return flow_; }

 private:
  struct Rows {
    std::size_t step;
    Tensor x;  // [n,d]
    TransitionBatch batch;
  };
  using Tensors = std::vector<Tensor>;

  Predictions predict(const Rows& rows) const {
    const Tensor x = as_points(rows.batch.x), y = as_points(rows.batch.y);
    return {.eps = rows.batch.eps_reference + as_latents(change_.at(rows.step, x)),
            .flow_x = as_latents(flow_.at(rows.step, x)),
            .flow_y = as_latents(flow_.at(rows.step + 1, y)),
            .reverse_score = {},
            .eps_renoised = {}};
  }

  Tensor loss_with(const std::string& term) const {
    const auto objective = make_objective(config_of(problem_, term));
    Tensor loss = at::zeros({}, at::kDouble);
    for (const auto& rows : rows_) {
      TransitionBatch batch = rows.batch;
      batch.slot_terminal_weight = term == kTerminal ? batch.slot_weight : at::zeros_like(batch.slot_weight);
      loss = loss + objective->compute(batch, predict(rows)).loss;
    }
    return loss;
  }

  // Of the loss with the term less that of the loss without it. Undefined where nothing of it depends on a parameter.
  Tensors gradients_of(const std::string& term, const Tensors& parameters) const {
    const auto gradients_of_loss = [&](const std::string& name) {
      return torch::autograd::grad({loss_with(name)}, parameters, {}, false, false, true);
    };
    Tensors with = gradients_of_loss(term);
    if (term == kForward) return with;
    const Tensors without = gradients_of_loss(kForward);
    for (std::size_t p = 0; p < with.size(); ++p)
      if (without[p].defined()) with[p] = with[p].defined() ? with[p] - without[p] : -without[p];
    return with;
  }

  Tensors random_direction(const MlpField& field) {
    Tensors direction;
    for (const auto& parameter : field.parameters()) direction.push_back(random_like(parameter, stream_));
    return direction;
  }

  static double slope_along(const Tensors& gradients, const Tensors& direction) {
    double slope = 0.0;
    for (std::size_t p = 0; p < gradients.size(); ++p)
      if (gradients[p].defined()) slope += (gradients[p] * direction[p]).sum().item<double>();
    return slope;
  }

  // Central differences of fourth order.
  double difference_along(const std::string& term, const MlpField& field, const Tensors& direction, double step, Targets targets) const {
    const auto value_at = [&](double distance) { return moved_value(term, field.parameters(), direction, distance, targets); };
    return (8.0 * (value_at(step) - value_at(-step)) - (value_at(2.0 * step) - value_at(-2.0 * step))) / (12.0 * step);
  }

  // The term after a step along the direction, which is taken back.
  double moved_value(const std::string& term, const Tensors& parameters, const Tensors& direction, double step, Targets targets) const {
    const at::NoGradGuard no_grad;
    const auto objective = make_objective(objective_of(problem_));
    Tensors before;
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      before.push_back(parameters[p].clone());
      Tensor(parameters[p]).add_(direction[p], step);
    }
    double value = 0.0;
    for (const auto& rows : rows_) {
      TransitionBatch batch = rows.batch;
      if (targets == Targets::kComputed) compute_targets(rows, batch);
      value += objective->compute(batch, predict(rows)).terms.at(term).item<double>();
    }
    for (std::size_t p = 0; p < parameters.size(); ++p) Tensor(parameters[p]).copy_(before[p]);
    return value;
  }

  // Of the moved policy, at the same x and y.
  void compute_targets(const Rows& rows, TransitionBatch& batch) const {
    const TransitionBatch made = maker_.evaluate(rows.step, rows.x, as_points(batch.y), at::zeros_like(rows.x), change_);
    batch.reward_grad_y = made.reward_grad_y;
    batch.reward_grad_x = made.reward_grad_x;
    batch.reverse_score_policy = made.reverse_score_policy;
  }

  const TruthCase& problem_;
  StepTable table_;
  ReferenceModel reference_;
  RowMaker maker_;
  Philox stream_;
  MlpField change_, flow_;
  std::vector<Rows> rows_;
};

// Forward-looking gradients at the policy's own prediction, so that theta moves them.
TruthCase with_policy_gradients(TruthCase problem) {
  problem.gradient = GradientKind::kPolicyFl;
  return problem;
}

}  // namespace

std::vector<GradientError> gradient_errors(const TruthCase& problem) {
  GradientScene scene(problem);
  TruthCase release = problem;
  release.flow_from_forward_loss = true;
  GradientScene release_scene(release);
  return {scene.error("forward loss in theta", kForward, scene.change()), scene.error("regulariser in theta", kRegulariser, scene.change()),
          scene.error("reverse loss in phi", kReverse, scene.flow()), scene.error("terminal loss in phi", kTerminal, scene.flow()),
          release_scene.error("forward loss in phi, release's map", kForward, release_scene.flow())};
}

std::vector<StoppedGradient> stopped_gradients(const TruthCase& problem) {
  const TruthCase policy = with_policy_gradients(problem);
  GradientScene scene(policy);
  return {scene.stopped("forward loss in phi", kForward, scene.flow()), scene.stopped("reverse loss in theta", kReverse, scene.change())};
}

double moving_reward_error(const TruthCase& problem) {
  const TruthCase policy = with_policy_gradients(problem);
  GradientScene scene(policy);
  return scene.error("", kForward, scene.change(), Targets::kComputed).relative;
}

}  // namespace nabla::truth
