#include "actors/relabel_ticket.h"

#include "common/config/relabel_needs.h"
#include "common/device/transfer.h"
#include "common/error.h"

#include <torch/types.h>

namespace nabla {

namespace {

// The rows of one slot; a view of the received bytes.
Tensor state_of(const Workbench& bench, const SlotStates& states, const SlotOrder& order, const char* name) {
  std::vector<std::int64_t> shape{std::ssize(order.transitions)};
  shape.insert(shape.end(), bench.latent_shape.begin(), bench.latent_shape.end());
  const TensorEntry* entry = find_tensor(states.table, name);
  if (entry == nullptr || entry->dtype != DType::kF32 || entry->shape != shape)
    throw failure("[actor] the states of slot {} have no tensor '{}' of {} rows for this actor's base model", order.slot, name,
                  shape.front());
  return at::from_blob(const_cast<std::byte*>(states.data.view.data() + entry->offset), shape, at::TensorOptions().dtype(at::kFloat));
}

}  // namespace

void set_states(const Workbench& bench, const RecordNeeds& needs, const Tensor& x, const Tensor& y, SlotPoints& slots) {
  const std::int64_t rows = x.size(0) / std::ssize(slots.slots);
  ChosenPoints& points = slots.points;
  points.x = to_device(x, bench.device);
  points.y = to_device(y, bench.device);
  // The last row of a trajectory ends in its final latents, where records have terminal rows; nobody asks for them otherwise.
  const Tensor last = at::arange(rows - 1, x.size(0), rows, at::TensorOptions(at::kLong).device(bench.device));
  points.terminal_latents = points.y.index_select(0, last).repeat_interleave(rows, 0);
  if (needs.renoised == 0) return;
  TrajectoryNoise noise = noise_of(slots.slots, bench);
  for (const auto& transition : bench.table.transitions) {
    if (transition.sigma > 0.0) noise.next_step();
  }
  points.trajectories.renoising = renoising_of(noise, needs.renoised);
}

std::vector<EncodedRecord> relabel_ticket(Workbench& bench, const RunConfig& config, const Ticket& ticket,
                                          const std::vector<SlotStates>& states, const RecordOrigin& origin, Progress& progress) {
  const RecordNeeds needs = relabel_needs(record_needs_of(config));
  SlotPoints slots = describe_slots(bench, ticket, needs);
  std::vector<Tensor> x, y;
  for (std::size_t i = 0; i < slots.slots.size(); ++i) {
    x.push_back(state_of(bench, states.at(i), slots.slots[i], "x"));
    y.push_back(state_of(bench, states.at(i), slots.slots[i], "y"));
  }
  set_states(bench, needs, at::cat(x), at::cat(y), slots);
  PointWants want = wants_of(needs);
  want.eps_reference = want.rewards = false;
  PointTensors values = evaluate_slots(bench, config, needs, want, slots, progress);
  copy_to_host(slots.points, values);

  progress.begin_stage("encoding");
  std::vector<EncodedRecord> records;
  for (std::size_t i = 0; i < slots.slots.size(); ++i) {
    RecordHeader header = header_of(bench, ticket, slots, i, origin, needs);
    records.push_back(encode_slot(std::move(header), policy_dependent_tensors(needs), needs, slots, i, values));
  }
  return records;
}

}  // namespace nabla
