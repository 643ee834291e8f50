#include "actors/slot_points.h"

#include "actors/point_math.h"
#include "common/device/transfer.h"
#include "common/error.h"

#include <torch/types.h>

#include <algorithm>
#include <map>

namespace nabla {

namespace {

void require_workable(const Ticket& ticket, const RecordNeeds& needs, std::size_t num_steps) {
  if (ticket.slots.empty()) throw failure("[actor] ticket {} has no slots", ticket.id);
  const std::size_t rows = ticket.slots.front().transitions.size();
  for (const auto& order : ticket.slots) {
    if (order.transitions.size() != rows || rows == 0) {
      throw failure("[actor] ticket {}: slot {} has {} transitions where the first slot has {}", ticket.id, order.slot,
                    order.transitions.size(), rows);
    }
    for (const auto step : order.transitions) {
      if (step < 0 || static_cast<std::size_t>(step) >= num_steps) {
        throw failure("[actor] ticket {}: transition {} of slot {} is outside the {} sampling steps", ticket.id, step, order.slot,
                      num_steps);
      }
    }
    if (!std::is_sorted(order.transitions.begin(), order.transitions.end()))
      throw failure("[actor] ticket {}: the transitions of slot {} do not ascend", ticket.id, order.slot);
    if (needs.terminal_row && static_cast<std::size_t>(order.transitions.back()) + 1 != num_steps) {
      throw failure("[actor] ticket {}: the transitions of slot {} do not end with the terminal one, {}", ticket.id, order.slot,
                    num_steps - 1);
    }
  }
}

void describe_rows(const Workbench& bench, SlotPoints& slots) {
  ChosenPoints& points = slots.points;
  std::vector<std::int64_t> timestep, next_timestep, trajectory, terminal;
  const auto last_step = static_cast<std::int32_t>(bench.table.transitions.size()) - 1;
  for (std::size_t b = 0; b < slots.slots.size(); ++b) {
    for (const auto step : slots.slots[b].transitions) {
      const Transition& transition = bench.table.transitions[static_cast<std::size_t>(step)];
      timestep.push_back(transition.timestep);
      next_timestep.push_back(transition.next_timestep);
      trajectory.push_back(static_cast<std::int64_t>(b));
      terminal.push_back(step == last_step ? 1 : 0);
      points.steps.push_back(step);
      points.prompts.push_back(slots.slots[b].prompt);
    }
  }
  points.timestep = torch::tensor(timestep, at::kLong);
  points.next_timestep = torch::tensor(next_timestep, at::kLong);
  points.is_terminal = torch::tensor(terminal, at::kLong).to(at::kBool);
  const Conditioning& each = slots.prompts.conditioning;
  const Tensor source = to_device(torch::tensor(trajectory, at::kLong), each.prompt_embeds.device());
  points.conditioning = {each.prompt_embeds.index_select(0, source), each.negative_embeds};
}

// All tensors of the batch by their names in a record; some are undefined.
std::map<std::string, Tensor> tensors_by_name(const ChosenPoints& points, const PointTensors& values) {
  return {{"x", points.x},
          {"y", points.y},
          {"eps_behaviour", values.eps_behaviour.defined() ? values.eps_behaviour : points.eps_behaviour},
          {"eps_reference", values.eps_reference},
          {"reward_grad_y", values.reward_grad_y},
          {"reward_grad_x", values.reward_grad_x},
          {"reverse_score_reference", values.reverse_score_reference},
          {"reverse_score_policy", values.reverse_score_policy},
          {"reverse_rao_blackwell", values.reverse_rao_blackwell},
          {"reward_grad_x0", values.reward_grad_x0},
          {"renoised_x", values.renoised_x},
          {"renoised_reward_grad", values.renoised_reward_grad}};
}

// Each decoded row goes through decoder and reward once and back once, a scored one does not go back.
void count_pictures(PictureCounters& counters, const PointTensors& values) {
  for (auto* counter : {&counters.decoder_forwards, &counters.reward_forwards}) *counter += values.decoded_rows + values.scored_rows;
  for (auto* counter : {&counters.decoder_backwards, &counters.reward_backwards}) *counter += values.decoded_rows;
}

}  // namespace

SlotPoints describe_slots(const Workbench& bench, const Ticket& ticket, const RecordNeeds& needs) {
  require_workable(ticket, needs, bench.table.transitions.size());
  std::vector<std::string> texts;
  for (const auto& order : ticket.slots) texts.push_back(order.prompt);
  SlotPoints slots{.slots = ticket.slots, .points = {}, .prompts = encode_prompts(bench, texts)};
  describe_rows(bench, slots);
  return slots;
}

TrajectoryNoise noise_of(const std::vector<SlotOrder>& slots, const Workbench& bench) {
  std::vector<std::uint64_t> seeds;
  std::vector<std::int64_t> numbers;
  for (const auto& order : slots) {
    seeds.push_back(order.seed);
    numbers.push_back(order.slot);
  }
  return TrajectoryNoise::for_slots(seeds, numbers, bench.latent_shape);
}

Tensor renoising_of(TrajectoryNoise& noise, std::int64_t samples) {
  std::vector<Tensor> draws;
  for (std::int64_t sample = 0; sample < samples; ++sample) draws.push_back(noise.next_step());
  return samples > 0 ? at::cat(draws) : Tensor();
}

PointWants wants_of(const RecordNeeds& needs) {
  return {.eps_reference = needs.eps_reference,
          .reward_grad_y = needs.reward_grad_y,
          .reward_grad_x = needs.reward_grad_x,
          .reward_grad_x0 = needs.reward_grad_x0,
          .reverse_score_reference = needs.reverse_score_reference,
          .reverse_score_policy = needs.reverse_score_policy,
          .reverse_rao_blackwell = needs.reverse_rao_blackwell};
}

PointTensors evaluate_slots(Workbench& bench, const RunConfig& config, const RecordNeeds& needs, PointWants want, const SlotPoints& slots,
                            Progress& progress) {
  PointOptions options;
  if (needs.gradient_kind != "none") options.gradient = gradient_kind_from_name(needs.gradient_kind);
  options.want = want;
  options.decode_rows = bench.decode_rows;
  options.x0hat_bf16 = config.compat.x0hat_bf16;
  options.on_stage = [&](const std::string& stage) {
    progress.begin_stage(stage);
    progress.step();
  };
  PointTensors values = evaluate_points(*bench.policy, *bench.vae, *bench.reward, bench.table, slots.points, options);
  count_pictures(bench.counters, values);
  return values;
}

void copy_to_host(ChosenPoints& points, PointTensors& values) {
  for (Tensor* tensor : {&points.x, &points.y, &points.eps_behaviour, &values.eps_behaviour, &values.eps_reference, &values.reward_grad_y,
                         &values.reward_grad_x, &values.reward_grad_x0, &values.reverse_score_reference, &values.reverse_score_policy,
                         &values.reverse_rao_blackwell, &values.renoised_x, &values.renoised_reward_grad, &values.rewards}) {
    if (tensor->defined()) *tensor = tensor->cpu();
  }
}

std::vector<double> final_rewards(Workbench& bench, const RecordNeeds& needs, const SlotPoints& slots, const PointTensors& values) {
  const std::int64_t rows = slots.points.x.size(0) / std::ssize(slots.slots);
  Tensor each = values.rewards;
  if (!needs.terminal_row) {
    PictureReward pictures(*bench.vae, *bench.reward, bench.decode_rows);
    each = pictures.score(slots.points.terminal_latents, slots.points.prompts).cpu();
    bench.counters.decoder_forwards += pictures.scored_rows;
    bench.counters.reward_forwards += pictures.scored_rows;
  }
  std::vector<double> rewards;
  for (std::int64_t i = 0; i < std::ssize(slots.slots); ++i) rewards.push_back(each[(i + 1) * rows - 1].item<float>());
  return rewards;
}

RecordHeader header_of(const Workbench& bench, const Ticket& ticket, const SlotPoints& slots, std::size_t index, const RecordOrigin& origin,
                       const RecordNeeds& needs) {
  const SlotOrder& order = slots.slots[index];
  RecordHeader header;
  header.kind = ticket.kind;
  header.run_id = origin.run_id;
  header.slot = order.slot;
  header.update = ticket.update;
  header.ticket_id = ticket.id;
  header.actor_id = origin.actor_id;
  header.version = origin.version;
  header.digest = origin.digest;
  header.prompt_index = order.prompt_index;
  header.prompt = order.prompt;
  header.token_ids = slots.prompts.token_ids[index];
  header.seed = order.seed;
  header.step_table_id = bench.table.id;
  for (const auto step : order.transitions) {
    const Transition& transition = bench.table.transitions[static_cast<std::size_t>(step)];
    header.transitions.push_back({step, transition.timestep, transition.next_timestep});
  }
  header.reward_spec = bench.reward->spec();
  header.gradient_kind = needs.gradient_kind;
  return header;
}

EncodedRecord encode_slot(RecordHeader header, const std::vector<std::string>& names, const RecordNeeds& needs, const SlotPoints& slots,
                          std::size_t index, const PointTensors& values) {
  const auto all = tensors_by_name(slots.points, values);
  std::vector<Tensor> alive;
  std::map<std::string, TensorSource> tensors;
  for (const auto& name : names) {
    const std::int64_t rows = rows_of_tensor(name, needs, static_cast<std::int64_t>(slots.slots[index].transitions.size()));
    alive.push_back(all.at(name).narrow(0, static_cast<std::int64_t>(index) * rows, rows).contiguous());
    const Tensor& part = alive.back();
    tensors[name] = {dtype_of(part), part.sizes().vec(),
                     std::as_bytes(std::span(part.data_ptr<float>(), static_cast<std::size_t>(part.numel())))};
  }
  return encode_record(std::move(header), pack_tensors(tensors));
}

}  // namespace nabla
