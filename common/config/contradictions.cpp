#include "common/config/contradictions.h"

#include "common/config/record_needs.h"
#include "common/config/relabel_needs.h"
#include "common/config/require.h"

namespace nabla {

namespace {

// Options of a part of the objective that the run does not have; `why` says what took it away.
void check_flow(const RunConfig& config, const RecordNeeds& needs) {
  const ModelConfig& model = config.model;
  const CompatConfig& compat = config.compat;
  const bool residual = config.experiment.method == "Nabla-DB";
  require(!residual || !model.no_flow || model.reverse_loss_scale == 0,
          "model.no_flow leaves the reverse loss nothing to train, but model.reverse_loss_scale is {}; set it to 0",
          model.reverse_loss_scale);
  const std::string why = residual ? "model.no_flow is true" : "experiment.method is " + config.experiment.method;
  require(needs.flow || !compat.flow_from_forward_loss, "compat.flow_from_forward_loss needs the flow network, but {}; set it to false",
          why);
  require(needs.flow || compat.flow_out_init == "zero",
          "compat.flow_out_init is {} but {}: there is no flow network to start; set it to zero", compat.flow_out_init, why);
  require(needs.flow || model.flow_prompt_conditioned,
          "model.flow_prompt_conditioned is false but {}: there is no flow network; set it to true", why);
  const bool reverse = needs.flow && model.reverse_loss_scale > 0;
  const std::string why_no_reverse = needs.flow ? "model.reverse_loss_scale is 0" : why;
  require(reverse || compat.reverse_terminal_target == "kept",
          "compat.reverse_terminal_target is {} but {}: there is no reverse loss; set it to kept", compat.reverse_terminal_target,
          why_no_reverse);
  require(reverse || model.reverse_target == "official", "model.reverse_target is {} but {}: there is no reverse loss; set it to official",
          model.reverse_target, why_no_reverse);
  require(compat.reverse_terminal_target == "kept" || model.reverse_target == "official",
          "compat.reverse_terminal_target is {}, which belongs to the release's own reverse target, but model.reverse_target is {}; set it "
          "to kept, "
          "or the target to official",
          compat.reverse_terminal_target, model.reverse_target);
}

// Every method but the residual form takes reward gradients of its own.
void check_method(const RunConfig& config) {
  const std::string& method = config.experiment.method;
  const ModelConfig& model = config.model;
  if (method == "Nabla-DB") return;
  const bool adjoint = method == "Adjoint-Matching", plain = method == "Plain-Nabla-DB";
  require(model.gradient == "policy_fl" || (adjoint && model.gradient == "lean_adjoint") || (plain && model.gradient == "terminal"),
          "model.gradient is {}, but experiment.method {} takes gradients of its own; leave it at policy_fl", model.gradient, method);
  require(!adjoint || config.sampling.eta == 1,
          "experiment.method Adjoint-Matching needs the memoryless sampler, but sampling.eta is {}; set it to 1", config.sampling.eta);
  require(!plain || config.sampling.eta == 1,
          "experiment.method Plain-Nabla-DB needs the backward kernel, which is known for sampling.eta 1 only, but sampling.eta is {}; set "
          "it to 1",
          config.sampling.eta);
  require(!plain || !model.no_flow, "experiment.method Plain-Nabla-DB is nothing without the flow network; set model.no_flow=false");
  const bool one_step = method == "ReFL" || method == "DRaFT-1" || method == "DRaFT-LV";
  require(!one_step || model.terminal_weighting == "official",
          "model.terminal_weighting is {}, but experiment.method {} trains one transition of a trajectory; set it to official",
          model.terminal_weighting, method);
  require(method != "DDPO" || model.reward_grad_clip_percentile == 0,
          "model.reward_grad_clip_percentile is {}, but experiment.method DDPO takes no reward gradients; set it to 0",
          model.reward_grad_clip_percentile);
}

void check_prior(const RunConfig& config) {
  const ModelConfig& model = config.model;
  if (model.pretrained_strength == 1) return;
  require(config.experiment.method == "Nabla-DB",
          "model.pretrained_strength is {}, but experiment.method {} has no such exponent; set it to 1", model.pretrained_strength,
          config.experiment.method);
  require(model.pretrained_strength_mode != "exact" || config.sampling.eta == 1,
          "model.pretrained_strength {} is exact for sampling.eta 1 only (the backward kernel has no closed form otherwise), but "
          "sampling.eta is {}; "
          "set sampling.eta=1, or model.pretrained_strength_mode=official for the release's approximation",
          model.pretrained_strength, config.sampling.eta);
}

void check_gradient(const RunConfig& config, const RecordNeeds& needs) {
  const ModelConfig& model = config.model;
  const bool forward_looking = needs.gradient_kind == "policy_fl" || needs.gradient_kind == "reference_fl";
  const bool relabels = config.fleet.relabel_before_update;
  require(!relabels || needs.gradient_kind != "lean_adjoint",
          "fleet.relabel_before_update cannot recompute lean adjoints, which need every state of a trajectory; set it to false, or "
          "model.gradient to another kind");
  require(!relabels || !policy_dependent_tensors(needs).empty(),
          "fleet.relabel_before_update has nothing to recompute: nothing that experiment.method {} with model.gradient {} and "
          "model.reverse_target {} takes from a record depends on the weights; set it to false",
          config.experiment.method, model.gradient, model.reverse_target);
  // Its correction takes the mean of the weights that sampled, so the two would speak of different policies.
  require(
      !relabels || !needs.reverse_rao_blackwell || model.pretrained_strength == 1 || model.pretrained_strength_mode != "exact",
      "fleet.relabel_before_update recomputes the Rao-Blackwell target, whose exact form for model.pretrained_strength {} belongs to the "
      "weights that sampled; set it to false, or model.reverse_target to official",
      model.pretrained_strength);
  const std::string& method = config.experiment.method;
  require((forward_looking && method != "DRaFT-LV") || !config.compat.x0hat_bf16,
          "compat.x0hat_bf16 rounds the clean prediction, which experiment.method {} with gradient kind {} does not take; set it to false",
          method, needs.gradient_kind);
  require(
      (forward_looking && method == "Nabla-DB") || config.compat.terminal_gamma == "one",
      "compat.terminal_gamma is {}, but gamma belongs to the residual form's forward-looking gradients; experiment.method is {} and the "
      "gradient kind {}: set it to one",
      config.compat.terminal_gamma, method, needs.gradient_kind);
  require(model.unet_reg_scale > 0 || model.unet_reg_anchor == "behaviour",
          "model.unet_reg_anchor is {} but model.unet_reg_scale is 0: nothing is held to it; set the scale, or the anchor to behaviour",
          model.unet_reg_anchor);
}

void check_prompts(const RunConfig& config) {
  const ExperimentConfig& experiment = config.experiment;
  require(config.compat.prompts == "as_listed" || experiment.prompt_fn == "hpd_photo_painting",
          "compat.prompts is {} but experiment.prompt_fn is {}; it belongs to hpd_photo_painting: set it to as_listed",
          config.compat.prompts, experiment.prompt_fn);
}

void check_lag(const FleetConfig& fleet) {
  require(fleet.publish_every <= fleet.max_policy_lag + 1,
          "fleet.publish_every {} with fleet.max_policy_lag {} could never issue a ticket: between two publications "
          "the lag grows to {}; set fleet.max_policy_lag to that",
          fleet.publish_every, fleet.max_policy_lag, fleet.publish_every - 1);
  require(
      fleet.lockstep || fleet.lockstep_delay == 0,
      "fleet.lockstep_delay is {} but fleet.lockstep is false; the delay has no meaning without it: set it to 0, or fleet.lockstep=true",
      fleet.lockstep_delay);
  const std::int64_t lockstep_lag = fleet.publish_every * (fleet.lockstep_delay + 1) - 1;
  require(!fleet.lockstep || lockstep_lag <= fleet.max_policy_lag,
          "lockstep with fleet.publish_every {} and fleet.lockstep_delay {} has a lag of up to {}; "
          "fleet.max_policy_lag is {}: set it to that",
          fleet.publish_every, fleet.lockstep_delay, lockstep_lag, fleet.max_policy_lag);
}

void check_memory(const RunConfig& config, const RecordNeeds& needs) {
  require(!config.learner.activation_checkpointing || !needs.flow || config.model.reverse_target != "true_gradient",
          "learner.activation_checkpointing computes activations again, but model.reverse_target true_gradient differentiates gradients a "
          "second "
          "time, which recomputed ones cannot be; set learner.activation_checkpointing to false, or another target");
}

}  // namespace

void require_no_contradictions(const RunConfig& config) {
  const RecordNeeds needs = record_needs_of(config);
  check_flow(config, needs);
  check_method(config);
  check_prior(config);
  check_gradient(config, needs);
  check_prompts(config);
  check_memory(config, needs);
  check_lag(config.fleet);
  const std::int64_t slots = config.slots_per_update();
  require(slots % config.fleet.ticket_size == 0,
          "fleet.ticket_size {} does not divide the {} slots of an update (training.batch_size {} x gradient_accumulation_steps {}); "
          "set fleet.ticket_size (alias sampling.batch_size) to a divisor",
          config.fleet.ticket_size, slots, config.training.batch_size, config.training.gradient_accumulation_steps);
  const bool ddim = config.sampling.scheduler.starts_with("dd") || config.sampling.scheduler.starts_with("DD");
  require(ddim || config.sampling.eta == 1,
          "sampling.scheduler {} is defined for sampling.eta 1, not {}: set sampling.eta=1, or the scheduler to DDIM",
          config.sampling.scheduler, config.sampling.eta);
}

}  // namespace nabla
