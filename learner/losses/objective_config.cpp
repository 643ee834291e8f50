#include "learner/losses/objective_config.h"

#include "common/config/record_needs.h"
#include "common/error.h"
#include "common/nearest.h"

#include <map>

namespace nabla {

namespace {

template <class Value>
Value named(const char* key, const std::string& name, const std::map<std::string, Value>& values) {
  const auto found = values.find(name);
  if (found != values.end()) return found->second;
  std::vector<std::string> known;
  for (const auto& [other, value] : values) known.push_back(other);
  throw usage_error("[learner] {} is '{}'; known are {}", key, name, comma_list(known));
}

Method method_of(const std::string& name) {
  return named<Method>("experiment.method", name,
                       {{"Nabla-DB", Method::kResidualNablaDb},
                        {"Plain-Nabla-DB", Method::kPlainNablaDb},
                        {"ReFL", Method::kRefl},
                        {"DRaFT-1", Method::kDraft1},
                        {"DRaFT-LV", Method::kDraftLv},
                        {"DDPO", Method::kDdpo},
                        {"Adjoint-Matching", Method::kAdjointMatching}});
}

void refuse_impossible(const RunConfig& config, const ObjectiveConfig& objective) {
  if (objective.method == Method::kPlainNablaDb && config.sampling.eta != 1.0) {
    throw usage_error(
        "[learner] experiment.method Plain-Nabla-DB needs the backward kernel, which is known for sampling.eta 1 only, not {}",
        config.sampling.eta);
  }
  if (objective.method == Method::kPlainNablaDb && config.model.no_flow) {
    throw usage_error("[learner] experiment.method Plain-Nabla-DB is nothing without its flow network; set model.no_flow=false");
  }
  if (objective.zero_terminal_reverse_target && objective.reverse_target != ReverseTarget::kOfficial) {
    throw usage_error(
        "[learner] compat.reverse_terminal_target zero is the release's with its own reverse target, but model.reverse_target is {}; use "
        "official, or kept",
        config.model.reverse_target);
  }
}

}  // namespace

ObjectiveConfig objective_of(const RunConfig& config) {
  const ModelConfig& model = config.model;
  ObjectiveConfig objective;
  objective.method = method_of(config.experiment.method);
  objective.reward_scale = model.reward_scale * static_cast<double>(config.experiment.reward_sign);
  objective.reverse_loss_scale = model.reverse_loss_scale;
  objective.unet_reg_scale = model.unet_reg_scale;
  objective.flow = record_needs_of(config).flow;
  objective.gamma = named<RewardGamma>("model.reward_adaptive_mode", model.reward_adaptive_mode,
                                       {{"squared", RewardGamma::kSquared}, {"linear", RewardGamma::kLinear}, {"one", RewardGamma::kOne}});
  objective.gradient_uses_gamma = named<bool>("model.gradient", model.gradient,
                                              {{"policy_fl", true}, {"reference_fl", true}, {"terminal", false}, {"lean_adjoint", false}});
  objective.time_weighting =
      named<TimeWeighting>("model.time_weighting", model.time_weighting,
                           {{"w2", TimeWeighting::kW2}, {"uniform", TimeWeighting::kUniform}, {"sigma", TimeWeighting::kSigma}});
  objective.reverse_target = named<ReverseTarget>("model.reverse_target", model.reverse_target,
                                                  {{"official", ReverseTarget::kOfficial},
                                                   {"rao_blackwell", ReverseTarget::kRaoBlackwell},
                                                   {"true_gradient", ReverseTarget::kTrueGradient}});
  objective.pretrained_strength = model.pretrained_strength;
  objective.strength_mode = named<StrengthMode>("model.pretrained_strength_mode", model.pretrained_strength_mode,
                                                {{"exact", StrengthMode::kExact}, {"official", StrengthMode::kOfficial}});
  objective.flow_from_forward_loss = config.compat.flow_from_forward_loss;
  objective.zero_terminal_reverse_target = config.compat.reverse_terminal_target == "zero";
  objective.terminal_gamma = config.compat.terminal_gamma == "alpha_bar";
  objective.ddpo_clip_range = model.ddpo_clip_range;
  refuse_impossible(config, objective);
  return objective;
}

}  // namespace nabla
