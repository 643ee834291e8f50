#include "common/config/record_needs.h"
#include "common/error.h"
#include "launch/probe/flow_folder.h"
#include "launch/probe/probe_rows.h"
#include "launch/probe/probe_setup.h"
#include "learner/losses/objective_config.h"
#include "learner/losses/rows.h"
#include "learner/predictor.h"
#include "learner/update_statistics.h"

#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

namespace nabla {

namespace {

void refuse_unprobed(const RunConfig& config) {
  if (config.experiment.method == "DRaFT-LV")
    throw usage_error("[probe] experiment.method is DRaFT-LV, whose noisings are not probed; use DRaFT-1");
  if (config.model.unet_reg_anchor != "behaviour")
    throw usage_error("[probe] model.unet_reg_anchor is {}, which only a run has; use behaviour", config.model.unet_reg_anchor);
  if (config.model.terminal_weighting != "official")
    throw usage_error("[probe] model.terminal_weighting is {}; here every row counts the same, use official",
                      config.model.terminal_weighting);
}

// A tensor of `terms` that this objective may do without.
Tensor read_optional(TensorInput& input, const std::string& name, bool needed) {
  return needed || input.has(name) ? input.floats(name, "N,C,h,w") : Tensor();
}

void clip_rows(Tensor& rows, double percent) {
  if (!rows.defined() || percent == 0.0) return;
  const Tensor norms = row_norms(rows).to(at::kDouble).contiguous();
  rows = scale_down_rows(rows, percentile({norms.data_ptr<double>(), norms.data_ptr<double>() + norms.numel()}, percent));
}

TransitionBatch read_batch(TensorInput& input, const StepTable& table, const RunConfig& config, at::ScalarType dtype) {
  const RecordNeeds needs = record_needs_of(config);
  const ProbeRows rows = read_rows(input, table);
  TransitionBatch batch;
  set_transitions(batch, rows.transitions, dtype);
  batch.x = rows.x;
  batch.y = rows.y;
  batch.is_terminal = rows.is_terminal;
  const auto read = [&](const char* name, bool needed) { return read_optional(input, name, needed); };
  read("terminal_latents", false);  // terms takes it; the loss has no use for it
  batch.eps_behaviour = read("eps_behaviour", true);
  batch.eps_reference = read("eps_reference", true);
  batch.reward_grad_y = read("reward_grad_y", needs.reward_grad_y);
  batch.reward_grad_x = read("reward_grad_x", needs.reward_grad_x);
  batch.reward_grad_x0 = read("reward_grad_x0", needs.reward_grad_x0);
  batch.reverse_score_reference = read("reverse_score_reference", needs.reverse_score_reference);
  batch.reverse_score_policy = read("reverse_score_policy", needs.reverse_score_policy);
  batch.reverse_rao_blackwell = read("reverse_rao_blackwell", needs.reverse_rao_blackwell);
  if (config.experiment.method == "DDPO") batch.advantage = input.floats("advantage", "N");
  for (Tensor* gradient : {&batch.reward_grad_y, &batch.reward_grad_x, &batch.reward_grad_x0})
    clip_rows(*gradient, config.model.reward_grad_clip_percentile);
  // Means over all rows, and over the terminal ones for the terminal loss.
  const auto count = static_cast<double>(batch.x.size(0)),
             terminal = static_cast<double>(rows.is_terminal.count_nonzero().item<std::int64_t>());
  batch.slot_weight = at::full({batch.x.size(0)}, 1.0 / count, dtype);
  batch.slot_terminal_weight = at::full({batch.x.size(0)}, 1.0 / std::max(terminal, 1.0), dtype);
  batch.num_slots = 1;
  return batch;
}

Conditioning read_conditioning(TensorInput& input) {
  const Tensor prompt = input.floats("prompt_embeds", "N,L,D");
  return {prompt, input.floats("negative_prompt_embeds", "1,L,D")};
}

// Gradients of the loss by "grad.<network>.<name>"; zeros where the loss does not see a parameter.
void add_gradients(const Tensor& loss, const std::string& network, const TensorMap& parameters, TensorMap& output) {
  std::vector<Tensor> values;
  for (const auto& [name, parameter] : parameters) values.push_back(parameter);
  const auto gradients = torch::autograd::grad({loss}, values, {}, true, false, true);
  std::size_t i = 0;
  for (const auto& [name, parameter] : parameters) {
    output["grad." + network + "." + name] = gradients[i].defined() ? gradients[i] : at::zeros_like(parameter);
    ++i;
  }
}

nlohmann::ordered_json facts_of(const LossOutput& result) {
  const auto term = [&](const char* name) { return result.terms.contains(name) ? result.terms.at(name).item<double>() : 0.0; };
  nlohmann::ordered_json facts{{"loss", term("loss")},
                               {"loss_forward", term("loss_forward")},
                               {"loss_reverse", term("losses_backward")},
                               {"loss_terminal", term("loss_terminal")},
                               {"unet_reg", term("unetreg")}};
  for (const char* name : {"loss_reward", "loss_policy"}) {
    if (result.terms.contains(name)) facts[name] = term(name);
  }
  return facts;
}

}  // namespace

nlohmann::ordered_json probe_loss(const ProbeOptions& options) {
  RunConfig config = options.config;
  if (!options.gradient.empty()) config.model.gradient = options.gradient;
  refuse_unprobed(config);
  const ObjectiveConfig objective = objective_of(config);
  if (options.lora.empty()) throw usage_error("[probe] loss needs --lora: its gradients are those of the LoRA's parameters");
  if (objective.flow && options.flow.empty())
    throw usage_error("[probe] this objective has a flow network: name it with --flow, or set model.no_flow=true");
  const ProbeModel model = open_probe_model(options);
  const auto flow = objective.flow ? load_flow_network(options) : nullptr;

  TensorInput input = open_input(options, latent_dtype(options));
  input.fix("C", model.unet->config().in_channels);
  input.fix("D", model.unet->config().cross_attention_dim);
  const TransitionBatch batch = read_batch(input, model.table, config, latent_dtype(options));
  const Conditioning conditioning = read_conditioning(input);
  input.finish();

  const at::AutoGradMode gradients(true);
  model.policy->lora().require_grad(true);
  const TensorMap flow_parameters = flow ? named_tensors(*flow) : TensorMap();
  for (auto [name, parameter] : flow_parameters) parameter.requires_grad_(true);
  const auto prompt = config.model.flow_prompt_conditioned ? Predictor::FlowPrompt::kOwn : Predictor::FlowPrompt::kEmpty;
  const LossOutput result =
      make_objective(objective)->compute(batch, Predictor(*model.policy, flow, objective, prompt).predict(batch, conditioning));
  TensorMap output;
  add_gradients(result.loss, "unet", model.policy->lora().tensors(), output);
  if (flow) add_gradients(result.loss, "flow", flow_parameters, output);
  if (result.residual_forward.defined()) output["residual_forward"] = result.residual_forward;
  if (result.residual_reverse.defined()) output["residual_reverse"] = result.residual_reverse;
  save_output(options, output);
  return facts_of(result);
}

}  // namespace nabla
