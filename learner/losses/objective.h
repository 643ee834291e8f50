#pragma once

#include "common/diffusion/tensors.h"
#include "common/diffusion/transition_kernel.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace nabla {

// Letters: R rows (transitions) of one micro-batch, P noisings of its final latents, C,h,w latent.

// Constants of each row's transition from a = alpha_bar to b = alpha_bar_next, alpha = a/b; [R] each, made in double, cast to the batch's dtype.
struct KernelColumns {
  Tensor x_coefficient, noise_coefficient, variance;  // mean = x_coefficient x - noise_coefficient eps; sigma^2
  Tensor noise, noise_next, noise_step;               // 1 - a, 1 - b, 1 - alpha
  Tensor alpha;
};

// Transitions of whole slots as tensors; rows of one slot are neighbours, its terminal row (ReFL has none) last. Tensors of other objectives are
// undefined.
struct TransitionBatch {
  Tensor x, y;                       // [R,C,h,w]
  Tensor timestep, next_timestep;    // [R] int64
  Tensor is_terminal;                // [R] bool
  Tensor weight;                     // [R] w = k/sigma^2 of the transition, float64 made, cast to the batch's dtype
  Tensor alpha_bar, alpha_bar_next;  // [R] float64 made, cast: gamma at x and y
  KernelColumns kernel;
  Tensor eps_behaviour, eps_reference;  // [R,C,h,w], as all down to reward_grad_x0
  Tensor eps_anchor;                    // of the U-Net regulariser; undefined: eps_behaviour
  Tensor reward_grad_y, reward_grad_x;  // raw: d log R / d y, d log R / d x
  Tensor reverse_score_reference, reverse_score_policy, reverse_rao_blackwell;
  Tensor reward_grad_x0;                    // d log R / d x-hat at x
  Tensor renoised_x, renoised_reward_grad;  // [P,C,h,w] d log R / d mean of the last transition from there
  Tensor renoised_row;                      // [P] int64, the terminal row of the slot that was noised
  Tensor advantage;                         // [R] of the row's slot
  Tensor slot_weight;                       // [R] of the row in its slot's mean; a slot's add up to 1
  Tensor slot_terminal_weight;              // [R] of the terminal loss, 1/K; undefined: slot_weight
  std::int64_t num_slots = 0;
};

enum class Method { kResidualNablaDb, kPlainNablaDb, kRefl, kDraft1, kDraftLv, kDdpo, kAdjointMatching };
enum class RewardGamma { kSquared, kLinear, kOne };  // gamma_t = alpha_bar, sqrt(alpha_bar), 1 (reward_adaptive_mode)
// Of the forward residual: as it is, divided by w, times sigma (a squared distance of means in deviations of the step).
enum class TimeWeighting { kW2, kUniform, kSigma };
enum class ReverseTarget { kOfficial, kRaoBlackwell, kTrueGradient };
enum class StrengthMode { kExact, kOfficial };

struct ObjectiveConfig {
  double reward_scale = 1e3;        // beta
  double reverse_loss_scale = 1.0;  // w_B
  double unet_reg_scale = 1e3;      // lambda
  bool flow = true;                 // false: no_flow
  RewardGamma gamma = RewardGamma::kSquared;
  // True for gradient kinds policy_fl and reference_fl; the others take gamma 1 everywhere.
  bool gradient_uses_gamma = true;
  TimeWeighting time_weighting = TimeWeighting::kW2;
  bool flow_from_forward_loss = false;  // compat: g(y) not detached in the forward loss
  Method method = Method::kResidualNablaDb;
  ReverseTarget reverse_target = ReverseTarget::kOfficial;
  double pretrained_strength = 1.0;  // eta
  StrengthMode strength_mode = StrengthMode::kExact;
  bool zero_terminal_reverse_target = false;  // compat
  bool terminal_gamma = false;                // compat: gamma at the terminal y too
  double ddpo_clip_range = 1e-4;
};

// Predictions of the current networks with their graphs; flow outputs undefined with no_flow.
struct Predictions {
  Tensor eps;                 // guided eps_theta at x [R,C,h,w]
  Tensor flow_x;              // g_phi(x, t) [R,C,h,w]
  Tensor flow_y;              // g_phi(y, t') [R,C,h,w]; terminal rows are g_phi(x_N, t' = 0)
  Tensor reverse_score = {};  // d log P_theta(y|x) / dx [R,C,h,w] with its graph to theta; reverse target true_gradient alone
  Tensor eps_renoised = {};   // eps_theta at renoised_x [P,C,h,w]; DRaFT-LV alone
};

struct LossOutput {
  Tensor loss;                                // scalar with graph: sum over slots of the slot's contribution (not divided by slots)
  Tensor residual_forward, residual_reverse;  // [R,C,h,w], detached; undefined where the objective has none
  // Sums over the micro-batch ready to be divided by slots, detached: loss_forward, losses_backward, loss_terminal, unetreg, norm_score_*.
  std::map<std::string, Tensor> terms;
};

// One way to turn transitions into a loss. A pure function of its arguments and its configuration.
class Objective {
 public:
  virtual ~Objective() = default;
  virtual LossOutput compute(const TransitionBatch& batch, const Predictions& predictions) const = 0;
};

std::unique_ptr<Objective> make_objective(const ObjectiveConfig& config);

// Constants of the rows' transitions: timestep, next_timestep, weight, alpha_bar, alpha_bar_next and kernel, in `dtype`.
void set_transitions(TransitionBatch& batch, const std::vector<Transition>& rows, at::ScalarType dtype);

}  // namespace nabla
