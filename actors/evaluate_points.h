#pragma once

#include "actors/rewards/reward_model.h"
#include "common/diffusion/policy.h"
#include "common/diffusion/transition_kernel.h"
#include "common/diffusion/vae.h"

#include <functional>
#include <string>
#include <vector>

namespace nabla {

// Letters: B trajectories, K rows a trajectory (one per bin, the terminal transition last), R = B*K rows.

// The chosen transitions of a batch, rows ordered trajectory by trajectory.
struct ChosenPoints {
  Tensor x, y;                       // [R,C,h,w]
  Tensor timestep;                   // [R] int64, t of x
  Tensor next_timestep;              // [R] int64, t' of y
  std::vector<std::int32_t> steps;   // [R] index into the step table
  Tensor is_terminal;                // [R] bool
  Conditioning conditioning;         // per row [R,L,D]
  std::vector<std::string> prompts;  // [R]
  Tensor terminal_latents;           // [R,C,h,w] x_N of the row's trajectory; needed by gradient kind "terminal"
};

enum class GradientKind { kPolicyFl, kReferenceFl, kTerminal };
GradientKind gradient_kind_from_name(const std::string& name);  // policy_fl | reference_fl | terminal; usage_error

struct PointOptions {
  GradientKind gradient = GradientKind::kPolicyFl;
  bool reverse = true;           // fill what the reverse loss needs
  bool behaviour = false;        // also predict with the policy at x (probes; the actor has it from sampling)
  std::int64_t chunk_rows = 32;  // rows evaluated at once; part of the bits
  // Told when "reference" and "reward_gradient" work begins; may throw to give the work up.
  std::function<void(const std::string& stage)> on_stage;
};

// What an actor attaches to each row (architecture.md, "What a trajectory record carries"); [R,C,h,w] each, undefined when not asked for.
struct PointTensors {
  Tensor eps_behaviour, eps_reference;
  Tensor reward_grad_y, reward_grad_x;
  Tensor reverse_score_reference, reverse_score_policy;
  Tensor rewards;                 // [R] reward of decode(clean prediction at y); terminal rows: of decode(y)
  std::int64_t decoded_rows = 0;  // rows that went through decoder and reward, and back
};

// The second stage of an actor: reference prediction, reward gradients and reverse scores at the chosen points, at full batch.
PointTensors evaluate_points(Policy& policy, AutoencoderKL& vae, RewardModel& reward, const StepTable& table, const ChosenPoints& points,
                             const PointOptions& options);

}  // namespace nabla
