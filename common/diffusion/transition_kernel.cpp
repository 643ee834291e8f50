#include "common/diffusion/transition_kernel.h"

#include "common/diffusion/alpha_bar_grid.h"
#include "common/digest.h"
#include "common/error.h"

#include <torch/types.h>

#include <cmath>

namespace nabla {

namespace {

using Timesteps = std::vector<std::int64_t>;  // descending

// numpy's linspace(0, last, count), rounded half to even and reversed.
Timesteps rounded_linspace(std::int64_t last, std::int64_t count) {
  const double step = count > 1 ? static_cast<double>(last) / static_cast<double>(count - 1) : 0.0;
  Timesteps timesteps;
  for (std::int64_t i = count - 1; i >= 0; --i) timesteps.push_back(std::llrint(static_cast<double>(i) * step));
  return timesteps;
}

// numpy's arange(last, 0, -ratio) minus 1, rounded half to even; numpy adds the difference of its first two values.
Timesteps trailing_timesteps(double last, std::int64_t num_steps) {
  const double difference = (last - last / static_cast<double>(num_steps)) - last;
  Timesteps timesteps;
  for (std::int64_t j = 0; j < num_steps; ++j) timesteps.push_back(std::llrint(last + static_cast<double>(j) * difference) - 1);
  return timesteps;
}

Timesteps ddim_timesteps(const SchedulerConfig& config, std::int64_t num_steps) {
  if (config.timestep_spacing == "linspace") return rounded_linspace(config.num_train_timesteps - 1, num_steps);
  if (config.timestep_spacing == "trailing") return trailing_timesteps(static_cast<double>(config.num_train_timesteps), num_steps);
  Timesteps timesteps;
  for (std::int64_t j = num_steps - 1; j >= 0; --j) timesteps.push_back(j * (config.num_train_timesteps / num_steps) + config.steps_offset);
  return timesteps;
}

Transition make_transition(std::int64_t timestep, std::int64_t next_timestep, double a, double b, double eta) {
  Transition transition;
  transition.timestep = timestep;
  transition.next_timestep = next_timestep;
  transition.alpha_bar = a;
  transition.alpha_bar_next = b;
  const double sigma_ddpm = std::sqrt((1.0 - b) / (1.0 - a) * (1.0 - a / b));  // DDIM eq. 16
  transition.sigma = eta * sigma_ddpm;
  const double direction = 1.0 - b - transition.sigma * transition.sigma;
  if (direction < 0.0) {
    throw usage_error("[kernel] eta {} makes more noise than the step from t = {} to t = {} has; at most {:.6f} there", eta, timestep,
                      next_timestep, std::sqrt(1.0 - b) / sigma_ddpm);
  }
  transition.x_coefficient = std::sqrt(b / a);
  transition.noise_coefficient = std::sqrt(b) * std::sqrt(1.0 - a) / std::sqrt(a) - std::sqrt(direction);
  if (transition.sigma > 0.0) transition.weight = transition.noise_coefficient / (transition.sigma * transition.sigma);
  return transition;
}

// diffusers' rule: a transition spans num_train_timesteps / num_steps training steps, whatever the spacing; below 0 stands the final alpha-bar.
std::vector<Transition> ddim_transitions(const SchedulerConfig& config, std::int64_t num_steps, double eta) {
  const std::vector<double> alpha_bars = config.alpha_bars();
  std::vector<Transition> transitions;
  for (const std::int64_t timestep : ddim_timesteps(config, num_steps)) {
    if (timestep >= config.num_train_timesteps) {
      throw usage_error("[kernel] {} steps with steps_offset {} begin at t = {}, but the schedule ends at {}; take fewer steps", num_steps,
                        config.steps_offset, timestep, config.num_train_timesteps - 1);
    }
    const std::int64_t next = timestep - config.num_train_timesteps / num_steps;
    const double final_alpha_bar = config.set_alpha_to_one ? 1.0 : alpha_bars[0];
    const double alpha_bar_next = next >= 0 ? alpha_bars[static_cast<std::size_t>(next)] : final_alpha_bar;
    transitions.push_back(
        make_transition(timestep, std::max<std::int64_t>(next, 0), alpha_bars[static_cast<std::size_t>(timestep)], alpha_bar_next, eta));
  }
  return transitions;
}

// First-order SDE-DPM-Solver++ is the DDPM kernel on its own grid: num_steps + 1 points over the schedule, the lowest one left out.
std::vector<Transition> sde_dpm_solver_transitions(const SchedulerConfig& config, std::int64_t num_steps) {
  const std::vector<double> alpha_bars = config.alpha_bars();
  const Timesteps grid = rounded_linspace(config.num_train_timesteps - 1, num_steps + 1);
  std::vector<Transition> transitions;
  for (std::size_t j = 0; j + 1 < grid.size(); ++j) {
    transitions.push_back(make_transition(grid[j], grid[j + 1], alpha_bars[static_cast<std::size_t>(grid[j])],
                                          alpha_bars[static_cast<std::size_t>(grid[j + 1])], 1.0));
  }
  return transitions;
}

// Names the sampler for people; the digest of all coefficients tells one schedule from another.
std::string table_id(const StepTable& table, const char* sampler, double eta) {
  std::string coefficients = fmt::format("clip={} {}\n", table.clip_sample, table.clip_sample ? table.clip_sample_range : 0.0);
  for (const auto& t : table.transitions) {
    coefficients += fmt::format("{} {} {:a} {:a} {:a}\n", t.timestep, t.next_timestep, t.alpha_bar, t.alpha_bar_next, t.sigma);
  }
  return fmt::format("{}/{}/eta={}/{}", sampler, table.transitions.size(), eta, Digest().update(coefficients).hex().substr(0, 12));
}

}  // namespace

Sampler sampler_from_name(const std::string& name) {
  if (name == "ddim" || name == "DDIM" || name == "ddpm" || name == "DDPM") return Sampler::kDdim;
  if (name == "sde-dpm-solver++" || name == "dpm-solver" || name == "DPM-solver") return Sampler::kSdeDpmSolverPp;
  throw usage_error("[kernel] there is no sampler '{}'; known are ddim (DDIM, ddpm, DDPM) and sde-dpm-solver++ (dpm-solver)", name);
}

StepTable make_step_table(const SchedulerConfig& config, Sampler sampler, std::int64_t num_steps, double eta) {
  const bool ddim = sampler == Sampler::kDdim;
  // The solver's grid has one point more than steps.
  const std::int64_t limit = ddim ? config.num_train_timesteps : config.num_train_timesteps - 1;
  if (num_steps < 1 || num_steps > limit) {
    throw usage_error("[kernel] {} sampling steps; a schedule of {} training steps allows 1 to {}", num_steps, config.num_train_timesteps,
                      limit);
  }
  if (!std::isfinite(eta) || eta < 0.0) throw usage_error("[kernel] eta is {}; it is a number of at least 0 (0: DDIM, 1: DDPM)", eta);
  if (!ddim && eta != 1.0) throw usage_error("[kernel] sde-dpm-solver++ is defined for eta 1, not {}; use ddim for another eta", eta);
  StepTable table;
  table.transitions = ddim ? ddim_transitions(config, num_steps, eta) : sde_dpm_solver_transitions(config, num_steps);
  table.clip_sample = ddim && config.clip_sample;
  table.clip_sample_range = config.clip_sample_range;
  table.id = table_id(table, ddim ? "ddim" : "sde-dpm-solver++", eta);
  return table;
}

StepTable make_step_table(const std::vector<double>& alpha_bars, double eta) {
  if (alpha_bars.size() < 2) throw usage_error("[kernel] {} levels of noise; a transition needs two", alpha_bars.size());
  const auto num_steps = static_cast<std::int64_t>(alpha_bars.size()) - 1;
  StepTable table;
  for (std::int64_t j = 0; j < num_steps; ++j) {
    const auto level = static_cast<std::size_t>(j);
    table.transitions.push_back(make_transition(num_steps - j, num_steps - j - 1, alpha_bars[level], alpha_bars[level + 1], eta));
  }
  table.id = table_id(table, "levels", eta);
  return table;
}

Tensor transition_mean(const StepTable& table, const Transition& transition, const Tensor& x, const Tensor& eps) {
  if (!table.clip_sample) return at::sub(x * transition.x_coefficient, eps, transition.noise_coefficient);
  const Tensor clean = predict_clean(transition, x, eps).clamp(-table.clip_sample_range, table.clip_sample_range);
  const double direction = std::sqrt(1.0 - transition.alpha_bar_next - transition.sigma * transition.sigma);
  return at::add(clean * std::sqrt(transition.alpha_bar_next), eps, direction);
}

Tensor predict_clean(const Transition& transition, const Tensor& x, const Tensor& eps) {
  return at::sub(x, eps, std::sqrt(1.0 - transition.alpha_bar)) / std::sqrt(transition.alpha_bar);
}

}  // namespace nabla
