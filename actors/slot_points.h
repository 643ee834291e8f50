#pragma once

#include "actors/evaluate_points.h"
#include "actors/progress.h"
#include "actors/workbench.h"
#include "common/config/record_needs.h"
#include "common/diffusion/sampling.h"
#include "protocol/record.h"
#include "protocol/ticket.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

// Who made a record and with which weights; stamped on each header.
struct RecordOrigin {
  std::string run_id, actor_id;
  std::int64_t version = 0;
  std::string digest;  // read back from the module that computes
};

// The chosen transitions of a batch of slots, on their way from states to records.
struct SlotPoints {
  std::vector<SlotOrder> slots;
  ChosenPoints points;
  EncodedPrompts prompts;
};

// Everything but the states: rows, times, prompts and their embeddings. failure naming the ticket if its slots have different numbers of rows, or rows that
// do not ascend, to the terminal one where the needs say so.
SlotPoints describe_slots(const Workbench& bench, const Ticket& ticket, const RecordNeeds& needs);

// The slots' noise, from its first draw on.
TrajectoryNoise noise_of(const std::vector<SlotOrder>& slots, const Workbench& bench);
// The standard normal noise of V noisings, [V*B,C,h,w]: the slots' own streams go on where their trajectories left them. Undefined if V is 0.
Tensor renoising_of(TrajectoryNoise& noise, std::int64_t samples);

// The second stage at points whose states are there, with its cost counted and its stages told. `needs` says which tensors.
PointTensors evaluate_slots(Workbench& bench, const RunConfig& config, const RecordNeeds& needs, PointWants want, const SlotPoints& slots,
                            Progress& progress);
// What these needs ask of the second stage.
PointWants wants_of(const RecordNeeds& needs);

// Brings what records are made of to the CPU, each tensor once.
void copy_to_host(ChosenPoints& points, PointTensors& values);

// The header of a slot's record; its reward is still 0.
RecordHeader header_of(const Workbench& bench, const Ticket& ticket, const SlotPoints& slots, std::size_t index, const RecordOrigin& origin,
                       const RecordNeeds& needs);
// The reward of each slot's final picture: of its terminal row, or, where the needs have none, of its terminal latents.
std::vector<double> final_rewards(Workbench& bench, const RecordNeeds& needs, const SlotPoints& slots, const PointTensors& values);
// A slot's record with the named tensors, which are on the CPU.
EncodedRecord encode_slot(RecordHeader header, const std::vector<std::string>& names, const RecordNeeds& needs, const SlotPoints& slots,
                          std::size_t index, const PointTensors& values);

}  // namespace nabla
