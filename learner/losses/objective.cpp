#include "learner/losses/objective.h"

#include "common/error.h"
#include "learner/losses/adjoint_matching.h"
#include "learner/losses/ddpo.h"
#include "learner/losses/draft.h"
#include "learner/losses/plain_nabla_db.h"
#include "learner/losses/refl.h"
#include "learner/losses/residual_nabla_db.h"

#include <torch/types.h>

#include <cmath>

namespace nabla {

namespace {

// A loss function with its configuration.
class FunctionObjective : public Objective {
 public:
  using Function = LossOutput (*)(const TransitionBatch&, const Predictions&, const ObjectiveConfig&);
  FunctionObjective(Function function, const ObjectiveConfig& config) : function_(function), config_(config) {}
  LossOutput compute(const TransitionBatch& batch, const Predictions& predictions) const override {
    return function_(batch, predictions, config_);
  }

 private:
  Function function_;
  ObjectiveConfig config_;
};

FunctionObjective::Function function_of(Method method) {
  switch (method) {
    case Method::kResidualNablaDb:
      return residual_nabla_db;
    case Method::kPlainNablaDb:
      return plain_nabla_db;
    case Method::kRefl:
      return refl;
    case Method::kDraft1:
      return draft_1;
    case Method::kDraftLv:
      return draft_lv;
    case Method::kDdpo:
      return ddpo;
    case Method::kAdjointMatching:
      return adjoint_matching;
  }
  throw failure("[losses] there is no objective {}", static_cast<int>(method));
}

}  // namespace

std::unique_ptr<Objective> make_objective(const ObjectiveConfig& config) {
  return std::make_unique<FunctionObjective>(function_of(config.method), config);
}

void set_transitions(TransitionBatch& batch, const std::vector<Transition>& rows, at::ScalarType dtype) {
  const auto column = [&](auto value) {
    std::vector<double> values;
    for (const auto& row : rows) values.push_back(value(row));
    return torch::tensor(values, at::kDouble).to(dtype);
  };
  std::vector<std::int64_t> timestep, next_timestep;
  for (const auto& row : rows) {
    timestep.push_back(row.timestep);
    next_timestep.push_back(row.next_timestep);
  }
  batch.timestep = torch::tensor(timestep, at::kLong);
  batch.next_timestep = torch::tensor(next_timestep, at::kLong);
  batch.weight = column([](const Transition& t) { return t.weight.value(); });
  batch.alpha_bar = column([](const Transition& t) { return t.alpha_bar; });
  batch.alpha_bar_next = column([](const Transition& t) { return t.alpha_bar_next; });
  KernelColumns& kernel = batch.kernel;
  kernel.x_coefficient = column([](const Transition& t) { return t.x_coefficient; });
  kernel.noise_coefficient = column([](const Transition& t) { return t.noise_coefficient; });
  kernel.variance = column([](const Transition& t) { return t.sigma * t.sigma; });
  kernel.noise = column([](const Transition& t) { return 1.0 - t.alpha_bar; });
  kernel.noise_next = column([](const Transition& t) { return 1.0 - t.alpha_bar_next; });
  kernel.noise_step = column([](const Transition& t) { return 1.0 - t.alpha_bar / t.alpha_bar_next; });
  kernel.alpha = column([](const Transition& t) { return t.alpha_bar / t.alpha_bar_next; });
}

}  // namespace nabla
