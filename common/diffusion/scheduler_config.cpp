#include "common/diffusion/model_config.h"
#include "common/diffusion/transition_kernel.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace nabla {

namespace {

// Schedulers whose files describe the noise that a network was trained with by the same keys, so that ours can stand in for them.
constexpr std::array<std::string_view, 14> kSchedulers{"DDIMScheduler",
                                                       "DDPMScheduler",
                                                       "PNDMScheduler",
                                                       "LMSDiscreteScheduler",
                                                       "EulerDiscreteScheduler",
                                                       "EulerAncestralDiscreteScheduler",
                                                       "HeunDiscreteScheduler",
                                                       "KDPM2DiscreteScheduler",
                                                       "KDPM2AncestralDiscreteScheduler",
                                                       "DPMSolverMultistepScheduler",
                                                       "DPMSolverSinglestepScheduler",
                                                       "DPMSolverSDEScheduler",
                                                       "DEISMultistepScheduler",
                                                       "UniPCMultistepScheduler"};

void check_class(const ConfigReader& reader) {
  std::string name{kSchedulers.front()};
  reader.read("_class_name", name);
  if (std::ranges::find(kSchedulers, name) == kSchedulers.end())
    reader.refuse("_class_name", fmt::format("one of {}", fmt::join(kSchedulers, ", ")));
}

void check_scheduler(const SchedulerConfig& config, const ConfigReader& reader) {
  if (config.beta_schedule != "linear" && config.beta_schedule != "scaled_linear")
    reader.refuse("beta_schedule", "linear or scaled_linear");
  const auto& spacing = config.timestep_spacing;
  if (spacing != "leading" && spacing != "trailing" && spacing != "linspace")
    reader.refuse("timestep_spacing", "leading, trailing or linspace");
  constexpr std::int64_t kMostTimesteps = 1'000'000;
  if (config.num_train_timesteps < 2 || config.num_train_timesteps > kMostTimesteps)
    reader.refuse("num_train_timesteps", fmt::format("a whole number from 2 to {}", kMostTimesteps));
  if (config.steps_offset < 0 || config.steps_offset >= config.num_train_timesteps) reader.refuse("steps_offset", "a training step");
  if (!(config.beta_start > 0.0) || config.beta_start >= 1.0) reader.refuse("beta_start", "a number between 0 and 1");
  if (!(config.beta_end > 0.0) || config.beta_end >= 1.0) reader.refuse("beta_end", "a number between 0 and 1");
  if (!(config.clip_sample_range > 0.0)) reader.refuse("clip_sample_range", "a positive number");
}

// torch.linspace in float32, from the start in its first half and from the end in its second; fused, as its vector code is, on every machine.
std::vector<float> linspace_float(float start, float end, std::int64_t count) {
  std::vector<float> values;
  const float step = (end - start) / static_cast<float>(count - 1);
  for (std::int64_t i = 0; i < count; ++i) {
    values.push_back(i < count / 2 ? std::fma(step, static_cast<float>(i), start)
                                   : std::fma(-step, static_cast<float>(count - 1 - i), end));
  }
  return values;
}

}  // namespace

SchedulerConfig SchedulerConfig::from_json(const nlohmann::json& json, const std::string& source) {
  const ConfigReader reader(json, source);
  check_class(reader);
  reader.require("prediction_type", "epsilon");
  reader.require("thresholding", false);
  reader.require("rescale_betas_zero_snr", false);
  if (reader.find("trained_betas") != nullptr) reader.refuse("trained_betas", "null");
  SchedulerConfig config;
  reader.read("num_train_timesteps", config.num_train_timesteps);
  reader.read("beta_start", config.beta_start);
  reader.read("beta_end", config.beta_end);
  reader.read("beta_schedule", config.beta_schedule);
  reader.read("timestep_spacing", config.timestep_spacing);
  reader.read("steps_offset", config.steps_offset);
  reader.read("set_alpha_to_one", config.set_alpha_to_one);
  reader.read("clip_sample", config.clip_sample);
  reader.read("clip_sample_range", config.clip_sample_range);
  check_scheduler(config, reader);
  return config;
}

nlohmann::ordered_json SchedulerConfig::to_json() const {
  return {{"_class_name", "DDIMScheduler"},
          {"beta_end", beta_end},
          {"beta_schedule", beta_schedule},
          {"beta_start", beta_start},
          {"clip_sample", clip_sample},
          {"clip_sample_range", clip_sample_range},
          {"num_train_timesteps", num_train_timesteps},
          {"prediction_type", prediction_type},
          {"set_alpha_to_one", set_alpha_to_one},
          {"steps_offset", steps_offset},
          {"timestep_spacing", timestep_spacing}};
}

std::vector<double> SchedulerConfig::alpha_bars() const {
  const bool scaled = beta_schedule == "scaled_linear";
  const auto ends = [&](double beta) { return static_cast<float>(scaled ? std::sqrt(beta) : beta); };
  std::vector<double> alpha_bars;
  double product = 1.0;
  for (const float value : linspace_float(ends(beta_start), ends(beta_end), num_train_timesteps)) {
    const float beta = scaled ? value * value : value;
    product *= 1.0 - static_cast<double>(beta);
    alpha_bars.push_back(product);
  }
  return alpha_bars;
}

}  // namespace nabla
