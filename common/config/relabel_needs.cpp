#include "common/config/relabel_needs.h"

#include <set>

namespace nabla {

RecordNeeds relabel_needs(RecordNeeds needs) {
  // The other kinds go through the base model, or through no U-Net at all.
  const bool by_policy = needs.gradient_kind == "policy_fl";
  needs.reward_grad_y = needs.reward_grad_y && by_policy;
  needs.reward_grad_x = needs.reward_grad_x && by_policy;
  needs.reverse_score_reference = false;
  return needs;
}

std::vector<std::string> policy_dependent_tensors(const RecordNeeds& needs) {
  static const std::set<std::string> kept{"x", "y", "eps_behaviour", "eps_reference", "renoised_x"};
  std::vector<std::string> names = tensor_names(relabel_needs(needs));
  std::erase_if(names, [](const std::string& name) { return kept.contains(name); });
  return names;
}

}  // namespace nabla
