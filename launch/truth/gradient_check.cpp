#include "launch/truth/gradient_check.h"

#include "launch/truth/mlp_field.h"
#include "launch/truth/outcome.h"
#include "launch/truth/transition_rows.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

namespace nabla::truth {

namespace {

constexpr double kStep = 1e-4;
constexpr int kDirections = 4;
constexpr double kRegulariser = 0.3;

Tensor random_like(const Tensor& tensor, Philox& stream) {
  const Tensor values = at::empty(tensor.sizes(), at::kDouble);
  for (double* value = values.data_ptr<double>(); value != values.data_ptr<double>() + values.numel(); ++value) *value = stream.normal();
  return values;
}

// Two networks with random weights and rows of four transitions, the terminal one among them.
class GradientScene {
 public:
  explicit GradientScene(const TruthCase& problem)
      : problem_(problem),
        table_(step_table_of(problem)),
        reference_(problem.prior, table_),
        stream_(problem.seed, RandomPurpose::kShuffle, 0),
        change_(table_, reference_, std::vector<double>(table_.transitions.size() + 1, 0.3), problem.dimensions(), stream_),
        flow_(table_, reference_, std::vector<double>(table_.transitions.size() + 1, 1.0), problem.dimensions(), stream_) {
    const at::NoGradGuard no_grad;
    for (const MlpField* field : {&change_, &flow_}) {
      for (Tensor parameter : field->parameters()) parameter.add_(random_like(parameter, stream_), 0.3);
    }
    const std::size_t last = table_.transitions.size() - 1;
    const RowMaker maker(problem_, table_, reference_);
    for (const std::size_t step : {std::size_t{0}, last / 2, last - 1, last}) {
      const Tensor x = random_like(at::empty({8, problem.dimensions()}), stream_);
      rows_.push_back(
          {step, maker.rows(step, {x, at::full({8}, 0.1, at::kDouble), 8}, gauss_hermite(2, problem.dimensions()), change_, change_)});
      // Another anchor than the policy itself, so that the regulariser has a gradient.
      rows_.back().batch.eps_behaviour = rows_.back().batch.eps_behaviour + 0.1;
    }
  }

  // Largest relative error of the gradient in the field's parameters, against differences of the sum of these terms with their weights.
  double error(const ObjectiveConfig& config, const MlpField& field, const std::vector<std::pair<const char*, double>>& terms) {
    const auto objective = make_objective(config);
    const std::vector<Tensor>& parameters = field.parameters();
    Tensor loss = at::zeros({}, at::kDouble);
    for (const auto& rows : rows_) loss = loss + objective->compute(rows.batch, predict(rows)).loss;
    const auto gradients = torch::autograd::grad({loss}, parameters, {}, false, false, true);
    double worst = 0.0;
    for (int i = 0; i < kDirections; ++i) {
      std::vector<Tensor> direction;
      double slope = 0.0;
      for (std::size_t p = 0; p < parameters.size(); ++p) {
        direction.push_back(random_like(parameters[p], stream_));
        if (gradients[p].defined()) slope += (gradients[p] * direction[p]).sum().item<double>();
      }
      const auto value_at = [&](double step) { return moved_value(*objective, parameters, direction, step, terms); };
      // Central differences of fourth order.
      const double difference =
          (8.0 * (value_at(kStep) - value_at(-kStep)) - (value_at(2.0 * kStep) - value_at(-2.0 * kStep))) / (12.0 * kStep);
      worst = worse(std::abs(slope - difference) / std::abs(difference), worst);
    }
    return worst;
  }

  const MlpField& change() const { return change_; }
  const MlpField& flow() const { return flow_; }

 private:
  struct Rows {
    std::size_t step;
    TransitionBatch batch;
  };

  Predictions predict(const Rows& rows) const {
    const Tensor x = as_points(rows.batch.x), y = as_points(rows.batch.y);
    return {.eps = rows.batch.eps_reference + as_latents(change_.at(rows.step, x)),
            .flow_x = as_latents(flow_.at(rows.step, x)),
            .flow_y = as_latents(flow_.at(rows.step + 1, y)),
            .reverse_score = {},
            .eps_renoised = {}};
  }

  // Value of the terms after a step along the direction, which is taken back.
  double moved_value(const Objective& objective, const std::vector<Tensor>& parameters, const std::vector<Tensor>& direction, double step,
                     const std::vector<std::pair<const char*, double>>& terms) const {
    const at::NoGradGuard no_grad;
    std::vector<Tensor> before;
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      before.push_back(parameters[p].clone());
      Tensor(parameters[p]).add_(direction[p], step);
    }
    double value = 0.0;
    for (const auto& rows : rows_) {
      const LossOutput output = objective.compute(rows.batch, predict(rows));
      for (const auto& [name, weight] : terms) value += weight * output.terms.at(name).item<double>();
    }
    for (std::size_t p = 0; p < parameters.size(); ++p) Tensor(parameters[p]).copy_(before[p]);
    return value;
  }

  const TruthCase& problem_;
  StepTable table_;
  ReferenceModel reference_;
  Philox stream_;
  MlpField change_, flow_;
  std::vector<Rows> rows_;
};

ObjectiveConfig checked_objective(const TruthCase& problem) {
  ObjectiveConfig objective = objective_of(problem);
  objective.unet_reg_scale = kRegulariser;
  objective.reverse_loss_scale = 0.7;
  return objective;
}

}  // namespace

std::vector<GradientError> gradient_errors(const TruthCase& problem) {
  GradientScene scene(problem);
  ObjectiveConfig objective = checked_objective(problem);
  const double reverse = objective.reverse_loss_scale;
  std::vector<GradientError> errors;
  errors.push_back({"policy", scene.error(objective, scene.change(), {{"loss_forward", 1.0}, {"unetreg", kRegulariser}})});
  errors.push_back({"flow", scene.error(objective, scene.flow(), {{"losses_backward", reverse}, {"loss_terminal", 1.0}})});
  objective.flow_from_forward_loss = true;
  errors.push_back({"flow, release's map",
                    scene.error(objective, scene.flow(), {{"loss_forward", 1.0}, {"losses_backward", reverse}, {"loss_terminal", 1.0}})});
  return errors;
}

double wrong_map_error(const TruthCase& problem) {
  GradientScene scene(problem);
  const ObjectiveConfig objective = checked_objective(problem);
  return scene.error(objective, scene.flow(),
                     {{"loss_forward", 1.0}, {"losses_backward", objective.reverse_loss_scale}, {"loss_terminal", 1.0}});
}

}  // namespace nabla::truth
