#include "common/diffusion/sampling.h"

#include "common/device/graphed_call.h"
#include "common/device/transfer.h"

#include <torch/types.h>

namespace nabla {

namespace {

// One standard normal tensor a stream, stacked; the streams advance.
Tensor draw_rows(std::vector<Philox>& streams, const std::vector<std::int64_t>& row_shape) {
  std::int64_t elements = 1;
  for (const auto size : row_shape) elements *= size;
  std::vector<std::int64_t> shape{static_cast<std::int64_t>(streams.size())};
  shape.insert(shape.end(), row_shape.begin(), row_shape.end());
  Tensor rows = at::empty(shape, at::kFloat);
  float* out = rows.data_ptr<float>();
  for (auto& stream : streams) {
    for (std::int64_t i = 0; i < elements; ++i) *out++ = static_cast<float>(stream.normal());
  }
  return rows;
}

}  // namespace

TrajectoryNoise::TrajectoryNoise(const std::vector<Philox>& start_streams, std::vector<Philox> step_streams,
                                 std::vector<std::int64_t> latent_shape)
    : step_streams_(std::move(step_streams)), latent_shape_(std::move(latent_shape)) {
  auto streams = start_streams;
  start_ = draw_rows(streams, latent_shape_);
}

TrajectoryNoise TrajectoryNoise::for_slots(const std::vector<std::uint64_t>& seeds, const std::vector<std::int64_t>& slots,
                                           std::vector<std::int64_t> latent_shape) {
  std::vector<Philox> start, steps;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    start.emplace_back(seeds[i], RandomPurpose::kStartNoise, static_cast<std::uint64_t>(slots[i]));
    steps.emplace_back(seeds[i], RandomPurpose::kStepNoise, static_cast<std::uint64_t>(slots[i]));
  }
  return {start, std::move(steps), std::move(latent_shape)};
}

TrajectoryNoise TrajectoryNoise::for_pictures(const std::vector<std::uint64_t>& seeds, const std::vector<std::int64_t>& pictures,
                                              std::vector<std::int64_t> latent_shape) {
  std::vector<Philox> start, steps;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const auto picture = static_cast<std::uint64_t>(pictures[i]);
    start.emplace_back(seeds[i], RandomPurpose::kEvaluationNoise, 2 * picture);
    steps.emplace_back(seeds[i], RandomPurpose::kEvaluationNoise, 2 * picture + 1);
  }
  return {start, std::move(steps), std::move(latent_shape)};
}

Tensor TrajectoryNoise::next_step() { return draw_rows(step_streams_, latent_shape_); }

Tensor sample_latents(Policy& policy, WeightMode mode, const StepTable& table, const Conditioning& conditioning, const Tensor& start,
                      const std::function<Tensor(std::size_t)>& step_noise, const StepObserver& observer, NetworkCalls calls) {
  const at::NoGradGuard no_grad;
  const auto counted = policy.counters;
  const auto predict = [&](const std::vector<Tensor>& inputs) { return policy.predict(mode, inputs[0], inputs[1], conditioning); };
  GraphedCall graphed(predict);
  const at::Device device = policy.device();
  Tensor x = to_device(start, device);
  for (std::size_t step = 0; step < table.transitions.size(); ++step) {
    const Transition& transition = table.transitions[step];
    const Tensor timestep = at::full({x.size(0)}, transition.timestep, at::TensorOptions(at::kLong).device(device));
    const Tensor prediction = calls == NetworkCalls::kGraphed ? graphed({x, timestep}) : predict({x, timestep});
    Tensor next = transition_mean(table, transition, x, prediction);
    if (transition.sigma > 0.0) next = next + to_device(step_noise(step), device).to(next.scalar_type()) * transition.sigma;
    if (observer) observer(step, x, prediction, next);
    x = next;
  }
  // A replay is not seen by the policy, and what a recording took is not the trajectories'.
  policy.counters.forwards = counted.forwards + x.size(0) * static_cast<std::int64_t>(table.transitions.size());
  return x;
}

}  // namespace nabla
