#include "actors/evaluate_points.h"
#include "actors/rewards/reward_model.h"
#include "common/error.h"
#include "launch/probe/probe_rows.h"
#include "launch/probe/probe_setup.h"
#include "learner/collate.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace nabla {

namespace {

Conditioning encode_prompts(const ModelFolder& folder, const std::vector<std::string>& prompts, at::ScalarType dtype) {
  PromptEncoder encoder(folder.load_text_encoder(dtype));
  const ClipTokenizer tokenizer = folder.load_tokenizer();
  std::vector<Tensor> embeds;
  for (const auto& prompt : prompts) embeds.push_back(encoder.encode(tokenizer.encode(prompt)));
  return {at::cat(embeds), encoder.encode(tokenizer.encode(""))};
}

ChosenPoints read_points(TensorInput& input, const StepTable& table, GradientKind kind) {
  const ProbeRows rows = read_rows(input, table);
  ChosenPoints points;
  points.x = rows.x;
  points.y = rows.y;
  points.timestep = rows.timestep;
  points.next_timestep = rows.next_timestep;
  points.is_terminal = rows.is_terminal;
  points.steps = rows.steps;
  if (kind == GradientKind::kTerminal) points.terminal_latents = input.floats("terminal_latents", "N,C,h,w");
  return points;
}

}  // namespace

nlohmann::ordered_json probe_terms(const ProbeOptions& options) {
  const GradientKind kind = gradient_kind_from_name(options.gradient.empty() ? options.config.model.gradient : options.gradient);
  if (kind == GradientKind::kLeanAdjoint) {
    throw usage_error(
        "[probe] --gradient is lean_adjoint, which needs every state of a trajectory; use policy_fl, reference_fl or terminal");
  }
  const ProbeModel model = open_probe_model(options);
  const auto vae = model.folder.load_vae(network_dtype(options));
  const std::string reward_model = options.reward_model.empty() ? options.config.experiment.reward_model : options.reward_model;
  const auto reward = make_reward({.name = options.reward, .model = reward_model, .dtype = network_dtype(options)});

  TensorInput input = open_input(options, latent_dtype(options));
  input.fix("C", model.unet->config().in_channels);
  ChosenPoints points = read_points(input, model.table, kind);
  input.finish();
  points.prompts = prompts_of_rows(options, points.x.size(0));
  points.conditioning = encode_prompts(model.folder, points.prompts, network_dtype(options));
  PointOptions evaluated;
  evaluated.gradient = kind;
  evaluated.want.eps_behaviour = true;
  evaluated.x0hat_bf16 = options.config.compat.x0hat_bf16;
  const PointTensors terms = evaluate_points(*model.policy, *vae, *reward, model.table, points, evaluated);
  save_output(options, {{"eps_behaviour", terms.eps_behaviour},
                        {"eps_reference", terms.eps_reference},
                        {"reward_grad_y", terms.reward_grad_y},
                        {"reward_grad_x", terms.reward_grad_x},
                        {"reverse_score_reference", terms.reverse_score_reference},
                        {"reverse_score_policy", terms.reverse_score_policy}});
  const Tensor rewards = terms.rewards.to(at::kDouble).contiguous();
  return {{"rewards", std::vector<double>(rewards.data_ptr<double>(), rewards.data_ptr<double>() + rewards.numel())}};
}

}  // namespace nabla
