#include "learner/predictor.h"

#include "common/diffusion/attention.h"
#include "learner/losses/rows.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

namespace nabla {

Predictor::Predictor(Policy& policy, std::shared_ptr<UNet2DConditionModel> flow, const ObjectiveConfig& objective, FlowPrompt flow_prompt)
    : policy_(policy), flow_(std::move(flow)), objective_(objective), flow_prompt_(flow_prompt) {}

Predictions Predictor::predict(const TransitionBatch& batch, const Conditioning& conditioning) {
  Predictions predictions;
  predict_policy(batch, conditioning, predictions);
  if (objective_.method == Method::kDraftLv) {
    const auto of_slot = [&](const Tensor& rows) { return rows.index_select(0, batch.renoised_row); };
    const Conditioning renoised{of_slot(conditioning.prompt_embeds), conditioning.negative_embeds};
    predictions.eps_renoised = policy_.predict(WeightMode::kAdapter, batch.renoised_x, of_slot(batch.timestep), renoised);
  }
  if (objective_.flow) predict_flow(batch, conditioning, predictions);
  return predictions;
}

void Predictor::predict_policy(const TransitionBatch& batch, const Conditioning& conditioning, Predictions& predictions) {
  if (objective_.flow && objective_.reverse_target == ReverseTarget::kTrueGradient) {
    predict_with_reverse_score(batch, conditioning, predictions);
    return;
  }
  predictions.eps = policy_.predict(WeightMode::kAdapter, batch.x, batch.timestep, conditioning);
}

// r_theta = J_mu(x)^T (y - mu)/sigma^2, differentiable in theta: the backward pass of the prediction is itself recorded.
void Predictor::predict_with_reverse_score(const TransitionBatch& batch, const Conditioning& conditioning, Predictions& predictions) {
  const TwiceDifferentiableAttention attention;
  const Tensor x = batch.x.detach().requires_grad_(true);
  predictions.eps = policy_.predict(WeightMode::kAdapter, x, batch.timestep, conditioning);
  const Tensor x_coefficient = per_row(batch.kernel.x_coefficient), noise_coefficient = per_row(batch.kernel.noise_coefficient);
  const Tensor cotangent = (batch.y - x_coefficient * batch.x + noise_coefficient * predictions.eps) / per_row(batch.kernel.variance);
  const Tensor product = torch::autograd::grad({predictions.eps}, {x}, {cotangent}, true, true)[0];
  predictions.reverse_score = x_coefficient * cotangent - noise_coefficient * product;
}

Tensor Predictor::flow_at(const Tensor& latents, const Tensor& timesteps, const Tensor& embeds) {
  const std::int64_t rows = latents.size(0);
  flow_passes_->forwards += rows;
  const Tensor flow = flow_->forward(latents, timesteps, embeds);
  if (flow.requires_grad()) flow.register_hook([passes = flow_passes_, rows](const Tensor&) { passes->backwards += rows; });
  return flow;
}

// g(x) and the terminal g(y) with a graph; the other g(y) only enter the forward target, where they are detached unless the configuration says
// otherwise, so they need none.
void Predictor::predict_flow(const TransitionBatch& batch, const Conditioning& conditioning, Predictions& predictions) {
  const Tensor embeds = flow_prompt_ == FlowPrompt::kOwn ? conditioning.prompt_embeds
                                                         : conditioning.negative_embeds.expand({batch.x.size(0), -1, -1}).contiguous();
  const Tensor trained =
      objective_.flow_from_forward_loss ? at::arange(batch.x.size(0), batch.timestep.options()) : batch.is_terminal.nonzero().flatten();
  const auto without_graph = [&](const Tensor& rows) {
    const at::NoGradGuard no_grad;
    return flow_at(batch.y.index_select(0, rows), batch.next_timestep.index_select(0, rows), embeds.index_select(0, rows));
  };
  const Tensor x_and_trained = at::cat({batch.x, batch.y.index_select(0, trained)});
  const Tensor timesteps = at::cat({batch.timestep, batch.next_timestep.index_select(0, trained)});
  const Tensor flow = flow_at(x_and_trained, timesteps, at::cat({embeds, embeds.index_select(0, trained)}));
  predictions.flow_x = flow.narrow(0, 0, batch.x.size(0));
  predictions.flow_y = flow.narrow(0, batch.x.size(0), trained.numel());
  if (trained.numel() == batch.x.size(0)) return;
  const Tensor others = batch.is_terminal.logical_not().nonzero().flatten();
  const Tensor order = at::cat({trained, others}).argsort();
  predictions.flow_y = at::cat({predictions.flow_y, without_graph(others)}).index_select(0, order);
}

}  // namespace nabla
