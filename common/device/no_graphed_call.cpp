#include "common/device/graphed_call.h"

namespace nabla {

struct GraphedCall::Recording {};

GraphedCall::GraphedCall(Function function) : function_(std::move(function)) {}
GraphedCall::~GraphedCall() = default;

at::Tensor GraphedCall::operator()(const std::vector<at::Tensor>& inputs) { return function_(inputs); }

}  // namespace nabla
