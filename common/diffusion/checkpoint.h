#pragma once

#include "common/diffusion/tensors.h"

#include <functional>
#include <vector>

namespace nabla {

class LoraLayer;

// A part of a network: a function of its inputs and of the parameters that `layers` carry.
using Segment = std::function<Tensor(const std::vector<Tensor>&)>;

// segment(inputs), all of them defined, whose graph keeps the inputs alone: the segment is computed a second time for its gradient, with the weights' mode of the first. Gradients
// reach inputs and adapters and equal the plain ones; the graph cannot be differentiated twice. Without gradients to record it is a plain call. The segment
// must draw no random numbers; it and `layers` must outlive the graph.
Tensor checkpointed(const Segment& segment, const std::vector<Tensor>& inputs, const std::vector<LoraLayer*>& layers);

}  // namespace nabla
