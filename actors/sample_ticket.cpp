#include "actors/sample_ticket.h"

#include "common/config/record_needs.h"
#include "common/diffusion/sampling.h"
#include "common/failpoint.h"

#include <torch/types.h>

namespace nabla {

namespace {

// Row of (trajectory b, its k-th chosen transition).
std::int64_t row_of(std::size_t trajectory, std::size_t choice, std::size_t rows_a_trajectory) {
  return static_cast<std::int64_t>(trajectory * rows_a_trajectory + choice);
}

// Runs the sampler and keeps x, y and the prediction where a slot chose the step; every state where lean adjoints are asked for.
void sample_states(Workbench& bench, const RecordNeeds& needs, SlotPoints& sampled, Progress& progress) {
  const std::vector<SlotOrder>& slots = sampled.slots;
  const std::size_t rows_each = slots.front().transitions.size();
  const bool keep_states = needs.gradient_kind == "lean_adjoint";
  ChosenPoints& points = sampled.points;
  std::vector<Tensor>& states = points.trajectories.states;

  std::vector<std::int64_t> shape{static_cast<std::int64_t>(slots.size() * rows_each)};
  shape.insert(shape.end(), bench.latent_shape.begin(), bench.latent_shape.end());
  const auto options = at::TensorOptions(at::kFloat).device(bench.device);
  points.x = at::empty(shape, options);
  points.y = at::empty(shape, options);
  points.eps_behaviour = at::empty(shape, options);

  const auto keep = [&](std::size_t step, const Tensor& x, const Tensor& prediction, const Tensor& next) {
    for (std::size_t b = 0; b < slots.size(); ++b) {
      for (std::size_t k = 0; k < rows_each; ++k) {
        if (static_cast<std::size_t>(slots[b].transitions[k]) != step) continue;
        const auto row = row_of(b, k, rows_each), trajectory = static_cast<std::int64_t>(b);
        points.x[row].copy_(x[trajectory]);
        points.y[row].copy_(next[trajectory]);
        points.eps_behaviour[row].copy_(prediction[trajectory]);
      }
    }
    if (keep_states) states.push_back(x);
    progress.step();
  };
  TrajectoryNoise noise = noise_of(slots, bench);
  const Tensor last = sample_latents(
      *bench.policy, WeightMode::kMerged, bench.table, sampled.prompts.conditioning, noise.start(),
      [&](std::size_t) { return noise.next_step(); }, keep, bench.network_calls);
  if (keep_states) states.push_back(last);
  points.terminal_latents = last.repeat_interleave(static_cast<std::int64_t>(rows_each), 0);
  points.trajectories.renoising = renoising_of(noise, needs.renoised);
}

}  // namespace

std::vector<EncodedRecord> sample_ticket(Workbench& bench, const RunConfig& config, const Ticket& ticket, const RecordOrigin& origin,
                                         Progress& progress) {
  progress.begin_stage("sampling");
  const RecordNeeds needs = record_needs_of(config);
  SlotPoints sampled = describe_slots(bench, ticket, needs);
  sample_states(bench, needs, sampled, progress);
  PointTensors values = evaluate_slots(bench, config, needs, wants_of(needs), sampled, progress);

  copy_to_host(sampled.points, values);
  const std::vector<double> rewards = final_rewards(bench, needs, sampled, values);

  progress.begin_stage("encoding");
  std::vector<EncodedRecord> records;
  for (std::size_t i = 0; i < ticket.slots.size(); ++i) {
    RecordHeader header = header_of(bench, ticket, sampled, i, origin, needs);
    failpoint("actor.mid_record");
    header.reward = rewards[i];
    records.push_back(encode_slot(std::move(header), tensor_names(needs), needs, sampled, i, values));
  }
  return records;
}

}  // namespace nabla
