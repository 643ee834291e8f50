#pragma once

#include "common/diffusion/policy.h"
#include "common/diffusion/transition_kernel.h"

#include <functional>
#include <vector>

namespace nabla {

struct LeanAdjoints {
  std::vector<Tensor> adjoints;       // N + 1 of [B,C,h,w]
  std::vector<Tensor> eps_reference;  // N of [B,C,h,w]: the base model's predictions at all states but the last
};

// The lean adjoint of Adjoint Matching (docs/objectives.md) at every state of B trajectories: at x_N `terminal_gradient` [B,C,h,w], at x_j the product
// J_mu#(x_j)^T of the one at x_{j+1}, mean and Jacobian by the base model. `states` are N + 1 of [B,C,h,w]; conditioning has B rows.
// `on_step` is told of each step and may throw. Depends on the trajectory alone, so it never goes stale.
LeanAdjoints lean_adjoints(Policy& policy, const StepTable& table, const std::vector<Tensor>& states, const Conditioning& conditioning,
                           const Tensor& terminal_gradient, const std::function<void()>& on_step);

}  // namespace nabla
