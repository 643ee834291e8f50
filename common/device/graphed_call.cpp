#include "common/device/graphed_call.h"

#include "common/error.h"

#include <ATen/core/grad_mode.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace nabla {

struct GraphedCall::Recording {
  at::cuda::CUDAGraph graph;
  std::vector<at::Tensor> inputs;  // of the graph: what a call gives is copied there
  at::Tensor output;
};

GraphedCall::GraphedCall(Function function) : function_(std::move(function)) {}
GraphedCall::~GraphedCall() = default;

at::Tensor GraphedCall::operator()(const std::vector<at::Tensor>& inputs) {
  const at::NoGradGuard no_grad;
  if (inputs.empty() || !inputs.front().is_cuda()) return function_(inputs);
  if (!recording_) {
    // A graph is recorded on a stream of its own, on which the libraries have set themselves up before.
    constexpr int kWarmUps = 2;
    auto recording = std::make_unique<Recording>();
    for (const auto& input : inputs) recording->inputs.push_back(input.clone());
    c10::cuda::getCurrentCUDAStream().synchronize();
    const c10::cuda::CUDAStream side = c10::cuda::getStreamFromPool(false, inputs.front().device().index());
    const c10::cuda::CUDAStreamGuard guard(side);
    for (int i = 0; i < kWarmUps; ++i) function_(recording->inputs);
    side.synchronize();
    recording->graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    recording->output = function_(recording->inputs);
    recording->graph.capture_end();
    side.synchronize();
    recording_ = std::move(recording);
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].sizes() != recording_->inputs[i].sizes())
      throw failure("[graph] input {} changed its shape after the graph was recorded; record another for it", i);
    recording_->inputs[i].copy_(inputs[i]);
  }
  recording_->graph.replay();
  return recording_->output.clone();
}

}  // namespace nabla
