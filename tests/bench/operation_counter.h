#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace nabla {

using at::Tensor;

// Counts, from the operators that PyTorch really runs, rows through networks and floating point operations (2 a multiply-add) of
// convolutions, matrix products and attention. It slows every operator down: count in one pass, time in another. One at a time.
class OperationCounter {
 public:
  struct Rows {
    std::int64_t forward = 0, backward = 0;
  };

  OperationCounter();
  ~OperationCounter();
  OperationCounter(const OperationCounter&) = delete;
  OperationCounter& operator=(const OperationCounter&) = delete;

  // `weight`: of a convolution that the network runs once in each pass, and that every backward pass goes through.
  void watch(const std::string& network, const Tensor& weight);
  const std::map<std::string, Rows>& rows() const { return rows_; }
  double flop() const { return flop_; }

 private:
  static std::unique_ptr<at::ObserverContext> on_operator(const at::RecordFunction& function);
  void see(const at::RecordFunction& function);
  void see_convolution(c10::ArrayRef<c10::IValue> inputs);
  void see_convolution_backward(c10::ArrayRef<c10::IValue> inputs);

  static OperationCounter* active_;  // a callback is a plain function without a place for an object
  at::CallbackHandle handle_;
  std::map<const void*, std::string> networks_;  // by the weight's data
  std::map<std::string, Rows> rows_;
  double flop_ = 0.0;
};

}  // namespace nabla
