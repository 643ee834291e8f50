#include "common/error.h"
#include "common/log.h"
#include "common/nearest.h"
#include "launch/probe/probe_setup.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace nabla {

namespace {

StepTable table_of(const SchedulerConfig& config, const ProbeOptions& options) {
  return make_step_table(config, sampler_from_name(options.sampler), options.steps, options.eta);
}

const Transition& transition_at(const StepTable& table, std::int64_t timestep, const std::string& path) {
  const auto found = std::ranges::find(table.transitions, timestep, &Transition::timestep);
  if (found != table.transitions.end()) return *found;
  std::vector<std::string> known;
  for (const auto& transition : table.transitions) known.push_back(std::to_string(transition.timestep));
  throw data_error("[probe] {}: tensor 'timestep' holds {}, expected timesteps of the table {}: {}", path, timestep, table.id,
                   comma_list(known));
}

// Means and deviations of one transition a row.
struct RowTransitions {
  Tensor mean;   // [N,C,h,w]
  Tensor sigma;  // [N], double
};

RowTransitions transitions_of(const StepTable& table, const Tensor& timestep, const Tensor& x, const Tensor& eps, const std::string& path) {
  std::vector<Tensor> means;
  std::vector<double> sigmas;
  for (std::int64_t row = 0; row < x.size(0); ++row) {
    const Transition& transition = transition_at(table, timestep[row].item<std::int64_t>(), path);
    means.push_back(transition_mean(table, transition, x.narrow(0, row, 1), eps.narrow(0, row, 1)));
    sigmas.push_back(transition.sigma);
  }
  return {at::cat(means), torch::tensor(sigmas, at::TensorOptions().dtype(at::kDouble).device(x.device()))};
}

// Gaussian log-density of every element, in double: [N, C*h*w].
Tensor log_density(const RowTransitions& rows, const Tensor& next) {
  const Tensor sigma = rows.sigma.unsqueeze(1);
  const Tensor deviation = (next.to(at::kDouble) - rows.mean.to(at::kDouble)).flatten(1) / sigma;
  return deviation.square() * -0.5 - sigma.log() - 0.5 * std::log(2.0 * std::numbers::pi);
}

// The file holds the end of the transition or the noise that leads there.
Tensor next_of(TensorInput& input, const RowTransitions& rows) {
  if (input.has("next") == input.has("noise")) {
    throw data_error(
        "[probe] {}: {} of the tensors 'next' and 'noise' are there, expected exactly one, of shape [N,C,h,w] like 'sample' {}",
        input.path(), input.has("next") ? "both" : "none", shape_string(rows.mean));
  }
  if (input.has("next")) return input.floats("next", "N,C,h,w");
  const Tensor noise = input.floats("noise", "N,C,h,w");
  return rows.mean + noise * rows.sigma.to(noise.scalar_type()).view({-1, 1, 1, 1});
}

}  // namespace

nlohmann::ordered_json probe_scheduler(const ProbeOptions& options) {
  const SchedulerConfig config = open_model(options).scheduler();
  nlohmann::ordered_json json{{"timesteps", {}}, {"next_timesteps", {}}, {"alpha_bar", {}}, {"alpha_bar_next", {}},
                              {"std", {}},       {"forward_weight", {}}};
  for (const auto& transition : table_of(config, options).transitions) {
    json["timesteps"].push_back(transition.timestep);
    json["next_timesteps"].push_back(transition.next_timestep);
    json["alpha_bar"].push_back(transition.alpha_bar);
    json["alpha_bar_next"].push_back(transition.alpha_bar_next);
    json["std"].push_back(transition.sigma);
    json["forward_weight"].push_back(transition.weight ? nlohmann::ordered_json(*transition.weight) : nlohmann::ordered_json());
  }
  json["config"] = config.to_json();
  return json;
}

nlohmann::ordered_json probe_step(const ProbeOptions& options) {
  const at::NoGradGuard no_grad;
  const StepTable table = table_of(open_model(options).scheduler(), options);
  TensorInput input = open_input(options, latent_dtype(options));
  const Tensor sample = input.floats("sample", "N,C,h,w");
  const Tensor prediction = input.floats("prediction", "N,C,h,w");
  const RowTransitions rows = transitions_of(table, input.integers("timestep", "N"), sample, prediction, input.path());
  const Tensor next = next_of(input, rows);
  input.finish();
  TensorMap output{{"mean", rows.mean}, {"next", next}, {"std", rows.sigma}};
  if ((rows.sigma > 0.0).all().item<bool>()) {
    const Tensor density = log_density(rows, next);
    output["log_prob"] = density.mean(1);
    output["log_prob_sum"] = density.sum(1);
  } else {
    log_info("[probe] std is 0 in some rows, so there is no density: log_prob and log_prob_sum are left out");
  }
  save_output(options, output);
  return {{"step_table", table.id}};
}

}  // namespace nabla
