#include "actors/relabel_samples.h"

#include "actors/relabel_ticket.h"

#include <torch/types.h>

namespace nabla {

namespace {

// The ticket that would have asked for these samples.
Ticket ticket_for(std::span<const std::shared_ptr<const TrajectoryRecord>> samples) {
  Ticket ticket;
  ticket.id = samples.front()->header.ticket_id;
  for (const auto& sample : samples) {
    const RecordHeader& header = sample->header;
    SlotOrder order{header.slot, header.prompt_index, header.prompt, header.seed, {}};
    for (const auto& row : header.transitions) order.transitions.push_back(row.step);
    ticket.slots.push_back(std::move(order));
  }
  return ticket;
}

// One tensor of all samples, copied.
Tensor rows_of(std::span<const std::shared_ptr<const TrajectoryRecord>> samples, const char* name) {
  std::vector<Tensor> parts;
  for (const auto& sample : samples) {
    const TensorEntry& entry = *sample->find(name);
    auto* bytes = const_cast<std::byte*>(sample->bytes(entry).data());
    parts.push_back(at::from_blob(bytes, entry.shape, at::TensorOptions().dtype(scalar_type(entry.dtype))));
  }
  return at::cat(parts);
}

}  // namespace

std::vector<EncodedRecord> relabel_samples(Workbench& bench, const RunConfig& config,
                                           std::span<const std::shared_ptr<const TrajectoryRecord>> samples, const RecordOrigin& origin,
                                           Progress& progress) {
  const RecordNeeds needs = record_needs_of(config);
  const Ticket ticket = ticket_for(samples);
  SlotPoints slots = describe_slots(bench, ticket, needs);
  set_states(bench, needs, rows_of(samples, "x"), rows_of(samples, "y"), slots);
  PointWants want = wants_of(needs);
  want.eps_behaviour = true;
  PointTensors values = evaluate_slots(bench, config, needs, want, slots, progress);
  copy_to_host(slots.points, values);
  const std::vector<double> rewards = final_rewards(bench, needs, slots, values);

  std::vector<EncodedRecord> records;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    RecordHeader header = header_of(bench, ticket, slots, i, origin, needs);
    header.update = samples[i]->header.update;
    header.ticket_id = samples[i]->header.ticket_id;
    header.reward = rewards[i];
    records.push_back(encode_slot(std::move(header), tensor_names(needs), needs, slots, i, values));
  }
  return records;
}

}  // namespace nabla
