#include "common/diffusion/checkpoint.h"

#include "common/diffusion/lora_layer.h"
#include "common/error.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

#include <algorithm>

namespace nabla {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// The layers compute in one mode while it lives: another prediction may have come between a forward pass and its gradient.
class LentMode {
 public:
  LentMode(const std::vector<LoraLayer*>& layers, const std::vector<WeightMode>& modes) : layers_(layers) {
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      own_.push_back(layers_[i]->mode());
      layers_[i]->set_mode(modes[i]);
    }
  }
  ~LentMode() {
    for (std::size_t i = 0; i < layers_.size(); ++i) layers_[i]->set_mode(own_[i]);
  }
  LentMode(const LentMode&) = delete;
  LentMode& operator=(const LentMode&) = delete;

 private:
  const std::vector<LoraLayer*>& layers_;
  std::vector<WeightMode> own_;
};

struct Recomputation : torch::CustomClassHolder {
  Segment segment;
  std::vector<LoraLayer*> layers;
  std::vector<WeightMode> modes;
  std::size_t num_inputs = 0;
};

bool is_trained(const LoraLayer& layer) {
  return layer.has_adapter() && layer.mode() == WeightMode::kAdapter && (layer.down().requires_grad() || layer.up().requires_grad());
}

// Arguments: the inputs, then the adapters that get gradients. As a TensorList: of a vector, torch does not see that it holds tensors.
class Checkpoint : public Function<Checkpoint> {
 public:
  static Tensor forward(AutogradContext* context, const c10::intrusive_ptr<Recomputation>& work, at::TensorList arguments) {
    context->save_for_backward(arguments.vec());
    context->saved_data["work"] = c10::IValue::make_capsule(work);
    return work->segment({arguments.begin(), arguments.begin() + static_cast<std::ptrdiff_t>(work->num_inputs)});
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    if (at::GradMode::is_enabled())
      throw failure(
          "[checkpoint] a gradient through recomputed activations cannot be differentiated again; turn activation checkpointing off");
    const auto capsule = context->saved_data["work"].toCapsule();
    const auto& work = static_cast<const Recomputation&>(*capsule);
    const variable_list arguments = context->get_saved_variables();
    variable_list inputs(arguments.begin(), arguments.begin() + static_cast<std::ptrdiff_t>(work.num_inputs));
    variable_list leaves;
    for (auto& input : inputs) {
      if (!input.defined()) continue;
      input = input.detach().requires_grad_(input.requires_grad());
      if (input.requires_grad()) leaves.push_back(input);
    }
    for (std::size_t i = work.num_inputs; i < arguments.size(); ++i) {
      if (arguments[i].requires_grad()) leaves.push_back(arguments[i]);
    }
    const at::AutoGradMode record(true);
    const LentMode mode(work.layers, work.modes);
    variable_list found = torch::autograd::grad({work.segment(inputs)}, leaves, {gradients[0]});
    // One gradient an argument, in their order; the first is for the work itself.
    variable_list result{Tensor()};
    std::size_t next = 0;
    for (const auto& argument : arguments) result.push_back(argument.defined() && argument.requires_grad() ? found[next++] : Tensor());
    return result;
  }
};

}  // namespace

Tensor checkpointed(const Segment& segment, const std::vector<Tensor>& inputs, const std::vector<LoraLayer*>& layers) {
  variable_list arguments = inputs;
  for (const LoraLayer* layer : layers) {
    if (is_trained(*layer)) arguments.insert(arguments.end(), {layer->down(), layer->up()});
  }
  const bool records = at::GradMode::is_enabled() && std::any_of(arguments.begin(), arguments.end(), [](const Tensor& argument) {
                         return argument.defined() && argument.requires_grad();
                       });
  if (!records) return segment(inputs);
  auto work = c10::make_intrusive<Recomputation>();
  work->segment = segment;
  work->layers = layers;
  for (const LoraLayer* layer : layers) work->modes.push_back(layer->mode());
  work->num_inputs = inputs.size();
  return Checkpoint::apply(work, at::TensorList(arguments));
}

}  // namespace nabla
