#include "common/diffusion/sampling.h"
#include "tests/diffusion/tiny_unet.h"

#include <fmt/format.h>

#include <algorithm>

using namespace nabla;

namespace {

// The latents that the sampler ends with, from the bundle's noise.
Tensor last_latents(const nlohmann::ordered_json& one, const TensorMap& bundle) {
  const auto config = SchedulerConfig::from_json(nlohmann::json(one.at("config")), "case");
  const StepTable table = make_step_table(config, sampler_from_name(one.at("kind").get<std::string>()), one.at("steps").get<std::int64_t>(),
                                          one.at("eta").get<double>());
  const auto unet = tiny_unet();
  Policy policy(unet, LoraAdapter::attach(*unet, {}, 1.0), one.at("guidance").get<double>());
  std::vector<std::int64_t> timesteps;
  const auto noise = [&](std::size_t step) { return bundle.at("step_noise")[static_cast<std::int64_t>(step)]; };
  const auto observe = [&](std::size_t step, const Tensor&, const Tensor&, const Tensor&) {
    timesteps.push_back(table.transitions[step].timestep);
  };
  const Conditioning conditioning{bundle.at("prompt_embeds"), bundle.at("negative_embeds")};
  const Tensor last = sample_latents(policy, WeightMode::kMerged, table, conditioning, bundle.at("start_noise"), noise, observe);
  CHECK(timesteps == one.at("timesteps").get<std::vector<std::int64_t>>());
  return last;
}

}  // namespace

TEST_CASE("given the noise, whole trajectories end where those of diffusers' samplers end") {
  const auto cases = read_json(parity_file("trajectories.json"));
  const TensorMap bundle = load_tensors(parity_file("trajectories.safetensors"));
  REQUIRE(cases.size() == 41);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    INFO(i, ": ", cases[i].dump());
    const Tensor expected = bundle.at(fmt::format("latents.{}", i));
    // Where clipping at a low alpha-bar magnifies rounding, diffusers in float32 is further than 1e-4 from itself in float64.
    const double tolerance = std::max(1e-4, 2 * cases[i].at("rounding").get<double>());
    CHECK(relative_error(last_latents(cases[i], bundle), expected) < tolerance);
  }
}
