#pragma once

#include "actors/rewards/reward_model.h"
#include "common/diffusion/policy.h"
#include "common/diffusion/transition_kernel.h"
#include "common/diffusion/vae.h"

#include <functional>
#include <string>
#include <vector>

namespace nabla {

// Letters: B trajectories, K rows a trajectory (one per bin, the terminal transition last), R = B*K rows, N transitions of the step table, V noisings a
// trajectory.

// Whole trajectories, each of which has the same number of neighbouring rows.
struct WholeTrajectories {
  std::vector<Tensor> states;  // N + 1 of [B,C,h,w], from start to end; empty where they were not kept
  Tensor renoising;            // [V*B,C,h,w] standard normal, first all trajectories' first; undefined: none asked for
};

// The chosen transitions of a batch, rows ordered trajectory by trajectory. Latents and embeddings are on the policy's device; times and marks, which choose
// rows, on the CPU.
struct ChosenPoints {
  Tensor x, y;                       // [R,C,h,w]
  Tensor timestep;                   // [R] int64, t of x
  Tensor next_timestep;              // [R] int64, t' of y
  std::vector<std::int32_t> steps;   // [R] index into the step table
  Tensor is_terminal;                // [R] bool
  Conditioning conditioning;         // per row [R,L,D]
  std::vector<std::string> prompts;  // [R]
  Tensor terminal_latents;           // [R,C,h,w] x_N of the row's trajectory; needed by gradient kind "terminal"
  Tensor eps_behaviour;              // [R,C,h,w] of the policy at x, if it is known already
  WholeTrajectories trajectories;    // needed by gradient kind "lean_adjoint" and by noisings
};

enum class GradientKind { kPolicyFl, kReferenceFl, kTerminal, kLeanAdjoint };
GradientKind gradient_kind_from_name(const std::string& name);  // policy_fl | reference_fl | terminal | lean_adjoint; usage_error

// Which tensors are wanted.
struct PointWants {
  bool eps_reference = true, rewards = true;  // relabelling needs neither; rewards come with reward_grad_y anyway
  bool reward_grad_y = true, reward_grad_x = true, reward_grad_x0 = false;
  bool reverse_score_reference = true, reverse_score_policy = true, reverse_rao_blackwell = false;
  bool eps_behaviour = false;  // probes; the actor has it from sampling
};

struct PointOptions {
  GradientKind gradient = GradientKind::kPolicyFl;
  PointWants want;
  bool x0hat_bf16 = false;       // compat: alpha-bar is rounded to bfloat16 before the clean prediction
  std::int64_t chunk_rows = 32;  // rows evaluated at once; part of the bits
  std::int64_t decode_rows = 0;  // of these, rows decoded at once; 0: all
  // Told when "reference" and "reward_gradient" work begins; may throw to give the work up.
  std::function<void(const std::string& stage)> on_stage;
};

// What an actor attaches to each row (protocol/WIRE_FORMAT.md); [R,C,h,w] each, undefined when not asked for.
struct PointTensors {
  Tensor eps_behaviour, eps_reference;
  Tensor reward_grad_y, reward_grad_x;
  Tensor reward_grad_x0;  // d log R(decode(x-hat)) / d x-hat at the policy's x-hat(x)
  Tensor reverse_score_reference, reverse_score_policy;
  Tensor reverse_rao_blackwell;             // J_mu#^T (mu_policy - mu#)/sigma^2 at x
  Tensor renoised_x, renoised_reward_grad;  // [B*V,C,h,w], the noisings of a trajectory as neighbours
  Tensor rewards;  // [R] reward of decode(clean prediction at y); terminal rows: of decode(y). Without reward_grad_y those alone
  std::int64_t decoded_rows = 0;  // rows that went through decoder and reward, and back
  std::int64_t scored_rows = 0;   // rows that went through both without a gradient
};

// The second stage of an actor: reference prediction, reward gradients and reverse scores at the chosen points, at full batch.
PointTensors evaluate_points(Policy& policy, AutoencoderKL& vae, RewardModel& reward, const StepTable& table, const ChosenPoints& points,
                             const PointOptions& options);

}  // namespace nabla
