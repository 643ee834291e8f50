#pragma once

#include "common/diffusion/tensors.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

// Moves parameters by their gradients, with some state a parameter ("moments") in the parameters' own type. What the state is and how a step goes is the
// implementation's: adamw.h, lion.h.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // One step, at this multiple of the learning rate. Uses and keeps the gradients; parameters without one are left alone, decay included.
  void step(double lr_factor = 1.0);
  void zero_grad();
  const std::vector<Tensor>& parameters() const { return parameters_; }
  // Of parameters and moments; equal where everything that later steps come from is equal.
  std::string digest() const;
  // Copies of the moments and the number of steps, in the order of the parameters; load() takes them back, data_error where they do not fit.
  TensorMap state() const;
  void load(const TensorMap& state);

 protected:
  Optimizer(std::vector<Tensor> parameters, const std::vector<std::string>& moments);
  std::int64_t steps() const { return steps_; }  // the one that is being taken included

 private:
  // Moves one parameter; `moments` [those of the constructor] are its own.
  virtual void move(Tensor& parameter, const Tensor& gradient, std::vector<Tensor>& moments, double lr_factor) = 0;

  std::vector<Tensor> parameters_;
  std::vector<std::string> names_;            // of the moments
  std::vector<std::vector<Tensor>> moments_;  // by parameter
  std::int64_t steps_ = 0;
};

// Multiplies all gradients.
void scale_gradients(const std::vector<Tensor>& parameters, double factor);
// Norm of all gradients as one vector (float64), before they are scaled down to max_norm as torch.nn.utils.clip_grad_norm_ does.
double clip_grad_norm(const std::vector<Tensor>& parameters, double max_norm);

}  // namespace nabla
