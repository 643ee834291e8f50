#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

struct RunConfig;

// What a run's objective asks of each record beside x, y and eps_behaviour: an actor makes exactly that, and the learner's validator expects exactly
// that. The default is the residual form with the official reverse target.
struct RecordNeeds {
  std::string gradient_kind = "policy_fl";  // policy_fl | reference_fl | terminal | lean_adjoint; none: no reward gradient
  bool flow = true;                         // the learner trains a flow network
  bool terminal_row = true;                 // the last row is the terminal transition
  bool eps_reference = true;
  bool reward_grad_y = true, reward_grad_x = true, reward_grad_x0 = false;
  bool reverse_score_reference = true, reverse_score_policy = true, reverse_rao_blackwell = false;
  std::int64_t renoised = 0;  // noisings of the final latents that carry renoised_x and renoised_reward_grad

  bool operator==(const RecordNeeds&) const = default;
};

RecordNeeds record_needs_of(const RunConfig& config);

// Names of the tensors that a record of these needs has, and no others.
std::vector<std::string> tensor_names(const RecordNeeds& needs);

// Rows of a tensor in a record of `rows` transitions: those of the noisings have a number of their own.
std::int64_t rows_of_tensor(const std::string& name, const RecordNeeds& needs, std::int64_t rows);

}  // namespace nabla
