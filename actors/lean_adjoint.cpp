#include "actors/lean_adjoint.h"

#include "actors/point_math.h"
#include "common/error.h"

#include <torch/types.h>

namespace nabla {

std::vector<Tensor> lean_adjoints(Policy& policy, const StepTable& table, const std::vector<Tensor>& states,
                                  const Conditioning& conditioning, const Tensor& terminal_gradient, const std::function<void()>& on_step) {
  const std::size_t steps = table.transitions.size();
  if (states.size() != steps + 1) {
    throw failure(
        "[actor] {} states of a trajectory of {} steps were kept; gradient kind lean_adjoint needs every one of them, so it can only be "
        "made "
        "where the trajectory is sampled",
        states.size(), steps);
  }
  const at::AutoGradMode grad_mode(true);
  std::vector<Tensor> adjoints(steps + 1);
  adjoints[steps] = terminal_gradient;
  for (std::size_t step = steps; step-- > 0;) {
    const Tensor x = states[step].detach().requires_grad_(true);
    const Tensor timestep = at::full({x.size(0)}, table.transitions[step].timestep, at::kLong);
    const Tensor eps = policy.predict(WeightMode::kBase, x, timestep, conditioning);
    const RowCoefficients rows = row_coefficients(table, {static_cast<std::int32_t>(step)}, x.scalar_type(), false);
    adjoints[step] = pull_back_mean(rows, x, eps, adjoints[step + 1], false);
    if (on_step) on_step();
  }
  return adjoints;
}

}  // namespace nabla
