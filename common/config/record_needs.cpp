#include "common/config/record_needs.h"

#include "common/config/run_config.h"
#include "common/error.h"

namespace nabla {

namespace {

// Nothing but the rows themselves.
RecordNeeds bare_needs(const std::string& gradient_kind) {
  RecordNeeds needs;
  needs.gradient_kind = gradient_kind;
  needs.flow = needs.eps_reference = needs.reward_grad_y = needs.reward_grad_x = needs.reverse_score_reference = needs.reverse_score_policy = false;
  return needs;
}

RecordNeeds residual_needs(const ModelConfig& model) {
  RecordNeeds needs = bare_needs(model.gradient);
  needs.flow = !model.no_flow;
  needs.eps_reference = needs.reward_grad_y = true;
  needs.reward_grad_x = needs.flow;
  needs.reverse_score_policy = needs.flow && model.reverse_target == "official";
  needs.reverse_rao_blackwell = needs.flow && model.reverse_target == "rao_blackwell";
  // The Rao-Blackwell target is the whole difference of both scores in expectation.
  needs.reverse_score_reference = needs.flow && !needs.reverse_rao_blackwell;
  return needs;
}

// The backward kernel takes the base model's place, so nothing of the base model is needed.
RecordNeeds plain_needs(const ModelConfig& model) {
  RecordNeeds needs = bare_needs("terminal");
  needs.flow = true;
  needs.reward_grad_y = true;
  needs.reverse_score_policy = model.reverse_target == "official";
  return needs;
}

}  // namespace

RecordNeeds record_needs_of(const RunConfig& config) {
  const std::string& method = config.experiment.method;
  if (method == "Nabla-DB") return residual_needs(config.model);
  if (method == "Plain-Nabla-DB") return plain_needs(config.model);
  if (method == "DDPO") return bare_needs("none");
  RecordNeeds needs = bare_needs(method == "Adjoint-Matching" ? "lean_adjoint" : method == "DRaFT-1" ? "terminal" : "policy_fl");
  if (method == "ReFL") {
    needs.reward_grad_x0 = true;
    needs.terminal_row = config.sampling.num_steps == 1;
  } else if (method == "DRaFT-LV") {
    needs.renoised = config.model.draft_lv_samples;
  } else if (method == "DRaFT-1" || method == "Adjoint-Matching") {
    needs.eps_reference = method == "Adjoint-Matching";
    needs.reward_grad_y = true;
  } else {
    throw usage_error(
        "[config] experiment.method is '{}'; known are Nabla-DB, Plain-Nabla-DB, ReFL, DRaFT-1, DRaFT-LV, DDPO and Adjoint-Matching",
        method);
  }
  return needs;
}

std::vector<std::string> tensor_names(const RecordNeeds& needs) {
  std::vector<std::string> names{"x", "y", "eps_behaviour"};
  const std::pair<bool, const char*> optional[] = {{needs.eps_reference, "eps_reference"},
                                                   {needs.reward_grad_y, "reward_grad_y"},
                                                   {needs.reward_grad_x, "reward_grad_x"},
                                                   {needs.reward_grad_x0, "reward_grad_x0"},
                                                   {needs.reverse_score_reference, "reverse_score_reference"},
                                                   {needs.reverse_score_policy, "reverse_score_policy"},
                                                   {needs.reverse_rao_blackwell, "reverse_rao_blackwell"},
                                                   {needs.renoised > 0, "renoised_x"},
                                                   {needs.renoised > 0, "renoised_reward_grad"}};
  for (const auto& [wanted, name] : optional) {
    if (wanted) names.emplace_back(name);
  }
  return names;
}

std::int64_t rows_of_tensor(const std::string& name, const RecordNeeds& needs, std::int64_t rows) {
  return name.starts_with("renoised_") ? needs.renoised : rows;
}

}  // namespace nabla
