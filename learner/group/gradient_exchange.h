#pragma once

#include "learner/group/process_group.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace nabla {

// Adds up gradients over ranks with one call an update. The bucket that holds all of them side by side is made once.
class GradientExchange {
 public:
  // Parameters are float32 on one device, the same on every rank; `group` must outlive it.
  GradientExchange(ProcessGroup& group, std::vector<Tensor> parameters);

  // Which parameters have a gradient on this rank.
  std::vector<bool> present() const;
  // Puts the sums in the gradients' place. `present_anywhere`: by parameter, whether any rank has a gradient of it; the others stay without one.
  void sum(const std::vector<bool>& present_anywhere);

 private:
  ProcessGroup& group_;
  std::vector<Tensor> parameters_;
  Tensor bucket_;               // [elements of all parameters]; undefined for a rank that is alone
  std::vector<Tensor> places_;  // by parameter: its part of the bucket, in its shape
};

}  // namespace nabla
