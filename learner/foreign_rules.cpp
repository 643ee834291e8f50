#include "learner/foreign_rules.h"

#include "common/config/relabel_needs.h"
#include "common/error.h"
#include "common/nearest.h"
#include "learner/transition_choice.h"

#include <algorithm>

namespace nabla {

namespace {

using Reasons = std::vector<std::string>;

// Settings that decide what the records' tensors mean; the sampler's steps are compared record by record.
constexpr const char* kMeaning[] = {"sampling.guidance_scale", "experiment.reward_fn", "experiment.reward_model", "compat.x0hat_bf16"};

void compare_settings(RunConfig own, RunConfig theirs, Reasons& reasons) {
  const auto own_fields = fields_of(own), their_fields = fields_of(theirs);
  for (const char* key : kMeaning) {
    const std::string here = find_field(own_fields, key).get(), there = find_field(their_fields, key).get();
    if (here != there) reasons.push_back(fmt::format("{} is '{}' in the log and '{}' here", key, there, here));
  }
  if (transition_choice_of(own) != transition_choice_of(theirs)) {
    reasons.emplace_back(
        "it holds other transitions than this run trains on (sampling.num_steps, model.timestep_fraction, sampling.low_var_subsampling, "
        "experiment.method)");
  }
}

void compare_tensors(const RecordNeeds& own, const RecordNeeds& theirs, Reasons& reasons) {
  const auto there = tensor_names(theirs);
  std::vector<std::string> missing = tensor_names(own);
  std::erase_if(missing, [&](const std::string& name) { return std::find(there.begin(), there.end(), name) != there.end(); });
  if (!missing.empty()) reasons.push_back("its records have no " + comma_list(missing));
  if (own.gradient_kind != theirs.gradient_kind) {
    reasons.push_back(fmt::format("its reward gradients are of kind {}, this run's of kind {}", theirs.gradient_kind, own.gradient_kind));
  }
}

// What the weights that sampled decided.
void refuse_policy_dependent(const RunConfig& own, const RecordNeeds& needs, Reasons& reasons) {
  const auto stale = policy_dependent_tensors(needs);
  if (!stale.empty()) {
    reasons.push_back(fmt::format(
        "this run takes {} from the records, which were computed with that run's weights (model.gradient reference_fl, terminal and "
        "lean_adjoint are free of them; so is model.reverse_target=true_gradient, or no reverse loss: model.no_flow=true "
        "model.reverse_loss_scale=0)",
        comma_list(stale)));
  }
  if (own.experiment.method == "DDPO")
    reasons.emplace_back(
        "experiment.method DDPO weighs a trajectory by the weights that sampled it, which have to be recent ones of this run");
  if (own.model.unet_reg_scale > 0 && own.model.unet_reg_anchor == "behaviour") {
    reasons.push_back(fmt::format(
        "model.unet_reg_anchor is behaviour: with model.unet_reg_scale {} this run would copy that run's policy (set the anchor to "
        "previous, or the scale to 0)",
        own.model.unet_reg_scale));
  }
}

}  // namespace

void require_usable(const RunConfig& own, const std::string& base_digest, const ForeignLog& log) {
  Reasons reasons;
  if (log.header.base_digest != base_digest) {
    reasons.push_back(fmt::format("its base model is {}, this run's is {}",
                                  log.header.base_digest.empty() ? "unknown" : log.header.base_digest, base_digest));
  }
  compare_settings(own, log.config, reasons);
  const RecordNeeds needs = record_needs_of(own);
  compare_tensors(needs, record_needs_of(log.config), reasons);
  if (log.header.relabelled_with.empty()) refuse_policy_dependent(own, needs, reasons);
  if (own.fleet.relabel_before_update)
    reasons.emplace_back("fleet.relabel_before_update needs actors, which a replay has not (set it to false)");
  if (reasons.empty()) return;
  std::string text;
  for (const auto& reason : reasons) text += fmt::format("{}{}", text.empty() ? "" : "; ", reason);
  throw usage_error(
      "[replay] the records of '{}' are foreign: run {} made them with a configuration that decides other weights, and this one cannot "
      "train on them: {}. Start from that run's config.yaml without such settings, or recompute the records for yours: nabla relabel {} "
      "--config <yours> --out <folder>",
      log.folder, log.header.run_id, text, log.folder);
}

}  // namespace nabla
