#pragma once

#include "common/diffusion/lora.h"
#include "learner/checkpoint/named_tensors.h"

namespace nabla {

// Puts other values into a LoRA while it lives. Both must outlive it, and no graph may hold the LoRA's own values meanwhile.
class LentValues {
 public:
  LentValues(const LoraAdapter& lora, const TensorMap& values) : lora_(lora), own_(copies_of(lora.tensors())) {
    copy_values("LoRA", values, lora_.tensors());
  }
  ~LentValues() { copy_values("LoRA", own_, lora_.tensors()); }
  LentValues(const LentValues&) = delete;
  LentValues& operator=(const LentValues&) = delete;

 private:
  const LoraAdapter& lora_;
  TensorMap own_;
};

}  // namespace nabla
