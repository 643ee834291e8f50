#pragma once

#include "common/diffusion/transition_kernel.h"
#include "launch/truth/mixture.h"
#include "learner/losses/objective.h"

#include <cstdint>
#include <optional>
#include <string>

namespace nabla::truth {

enum class Schedule { kSd15, kLogSnrUniform };
enum class LearnerKind { kTabular, kMlp };

// Which reward gradient an actor attaches away from the terminal state: at the base's clean prediction or at the policy's.
enum class GradientKind { kReferenceFl, kPolicyFl };

// Ways to spoil training, each of which a sound test has to notice.
enum class Tampering {
  kNone,
  kNoTerminalTarget,  // the forward target of the terminal transition is 0
  kRewardSign,        // the reward gradients point the other way
  kReverseSign,       // the two reverse scores change places
  kFreshNoise,        // the scores of policy and reference belong to two different y (docs/truth.md, defect 22)
};

// The MLP's training; a table is solved for and needs none.
struct MlpSettings {
  std::int64_t updates = 3000, batch = 256;
  double learning_rate = 1e-3;
};

// A problem whose answer is known: prior, reward and sampler, and how it is learned.
struct TruthCase {
  std::string name = "case";
  Mixture prior;
  QuadraticReward reward;
  double beta = 1.0;
  std::int64_t steps = 50;
  Schedule schedule = Schedule::kSd15;
  RewardGamma gamma = RewardGamma::kSquared;
  bool flow = true, reverse = true, flow_from_forward_loss = false;
  double pretrained_strength = 1.0;  // eta; the target is prior^eta R^beta
  StrengthMode strength_mode = StrengthMode::kExact;
  GradientKind gradient = GradientKind::kReferenceFl;
  LearnerKind learner = LearnerKind::kTabular;
  std::optional<double> threshold;  // on tv (1-D) or kl_weights (2-D); none: half the distance of the FL-only control
  MlpSettings training;
  std::uint64_t seed = 1;
  // y of the rows comes from the policy this many versions ago; none: from the prior, however long training has gone on.
  std::optional<std::int64_t> policy_lag = 0;
  Tampering tampering = Tampering::kNone;

  std::int64_t dimensions() const { return prior.means.size(1); }
};

// The law that the case asks for: proportional to prior^eta R^beta. eta other than 1 needs a prior of one mode.
Mixture exact_law(const TruthCase& problem);
// The sampler's table: the production kernel with eta 1.
StepTable step_table_of(const TruthCase& problem);
// The production objective's settings; no regulariser, which would only slow the way to the same minimum.
ObjectiveConfig objective_of(const TruthCase& problem);

}  // namespace nabla::truth
