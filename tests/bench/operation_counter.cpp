#include "tests/bench/operation_counter.h"

#include <string_view>

namespace nabla {

namespace {

// Multiply-adds of one pass of a convolution: every output value sees in/groups x kernel values.
double convolution_flop(const Tensor& result, const Tensor& weight) {
  return 2.0 * static_cast<double>(result.numel()) * static_cast<double>(weight.numel() / weight.size(0));
}

double product_flop(const Tensor& left, const Tensor& right) {
  return 2.0 * static_cast<double>(left.numel()) * static_cast<double>(right.size(-1));
}

// Attention [N,heads,T,d] over L keys: two products forward; five backward, one of them made again.
double attention_flop(const Tensor& query, const Tensor& key, int products) {
  return 2.0 * products * static_cast<double>(query.numel()) * static_cast<double>(key.size(2));
}

std::int64_t output_side(std::int64_t side, std::int64_t kernel, std::int64_t stride, std::int64_t padding) {
  return (side + 2 * padding - kernel) / stride + 1;
}

}  // namespace

OperationCounter* OperationCounter::active_ = nullptr;

OperationCounter::OperationCounter() {
  active_ = this;
  handle_ = at::addGlobalCallback(at::RecordFunctionCallback(on_operator).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
}

OperationCounter::~OperationCounter() {
  at::removeCallback(handle_);
  active_ = nullptr;
}

std::unique_ptr<at::ObserverContext> OperationCounter::on_operator(const at::RecordFunction& function) {
  if (active_ != nullptr) active_->see(function);
  return nullptr;
}

void OperationCounter::watch(const std::string& network, const Tensor& weight) { networks_[weight.data_ptr()] = network; }

void OperationCounter::see(const at::RecordFunction& function) {
  const std::string_view name = function.name();
  const auto inputs = function.inputs();
  if (name == "aten::convolution") {
    see_convolution(inputs);
  } else if (name == "aten::convolution_backward") {
    see_convolution_backward(inputs);
  } else if (name == "aten::mm" || name == "aten::bmm") {
    flop_ += product_flop(inputs[0].toTensor(), inputs[1].toTensor());
  } else if (name == "aten::addmm" || name == "aten::baddbmm") {
    flop_ += product_flop(inputs[1].toTensor(), inputs[2].toTensor());
  } else if (name == "aten::_scaled_dot_product_flash_attention_for_cpu") {
    flop_ += attention_flop(inputs[0].toTensor(), inputs[1].toTensor(), 2);
  } else if (name == "aten::_scaled_dot_product_flash_attention_for_cpu_backward") {
    flop_ += attention_flop(inputs[1].toTensor(), inputs[2].toTensor(), 5);
  }
}

// (input, weight, bias, stride, padding, ...)
void OperationCounter::see_convolution(c10::ArrayRef<c10::IValue> inputs) {
  const Tensor &input = inputs[0].toTensor(), &weight = inputs[1].toTensor();
  const auto stride = inputs[3].toIntVector(), padding = inputs[4].toIntVector();
  const std::int64_t pixels = output_side(input.size(2), weight.size(2), stride[0], padding[0]) *
                              output_side(input.size(3), weight.size(3), stride.back(), padding.back());
  flop_ += 2.0 * static_cast<double>(input.size(0) * pixels) * static_cast<double>(weight.numel());
  const auto network = networks_.find(weight.data_ptr());
  if (network != networks_.end()) rows_[network->second].forward += input.size(0);
}

// (grad_output, input, weight, bias_sizes, stride, padding, dilation, transposed, output_padding, groups, output_mask)
void OperationCounter::see_convolution_backward(c10::ArrayRef<c10::IValue> inputs) {
  const Tensor &grad_output = inputs[0].toTensor(), &weight = inputs[2].toTensor();
  const auto wanted = inputs[10].toBoolList();
  for (const std::size_t input_and_weight : {0, 1}) {
    if (wanted[input_and_weight]) flop_ += convolution_flop(grad_output, weight);
  }
  const auto network = networks_.find(weight.data_ptr());
  if (network != networks_.end()) rows_[network->second].backward += grad_output.size(0);
}

}  // namespace nabla
