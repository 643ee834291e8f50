#include "actors/lean_adjoint.h"

#include "actors/point_math.h"

#include <torch/types.h>

namespace nabla {

LeanAdjoints lean_adjoints(Policy& policy, const StepTable& table, const std::vector<Tensor>& states, const Conditioning& conditioning,
                           const Tensor& terminal_gradient, const std::function<void()>& on_step) {
  const at::AutoGradMode grad_mode(true);
  const std::size_t steps = table.transitions.size();
  LeanAdjoints lean{.adjoints = std::vector<Tensor>(steps + 1), .eps_reference = std::vector<Tensor>(steps)};
  lean.adjoints[steps] = terminal_gradient;
  for (std::size_t step = steps; step-- > 0;) {
    const Tensor x = states[step].detach().requires_grad_(true);
    const Tensor timestep = at::full({x.size(0)}, table.transitions[step].timestep, x.options().dtype(at::kLong));
    const Tensor eps = policy.predict(WeightMode::kBase, x, timestep, conditioning);
    const RowCoefficients rows = row_coefficients(table, {static_cast<std::int32_t>(step)}, x.options(), false);
    lean.adjoints[step] = pull_back_mean(rows, x, eps, lean.adjoints[step + 1], false);
    lean.eps_reference[step] = eps.detach();
    if (on_step) on_step();
  }
  return lean;
}

}  // namespace nabla
