#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

namespace nabla {

// A function of tensors that is recorded as one CUDA graph when it is first called and replayed from then on: hundreds of small kernels become one launch. Inputs
// keep their shapes and types from call to call; whatever else the function reads keeps its place in memory and its meaning, and nothing in it waits for the
// GPU. No gradients. On the CPU, and in a build without CUDA, each call is a plain one. One thread.
class GraphedCall {
 public:
  using Function = std::function<at::Tensor(const std::vector<at::Tensor>&)>;
  explicit GraphedCall(Function function);
  ~GraphedCall();
  at::Tensor operator()(const std::vector<at::Tensor>& inputs);

 private:
  struct Recording;
  Function function_;
  std::unique_ptr<Recording> recording_;
};

}  // namespace nabla
