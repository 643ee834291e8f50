#include "actors/sample_ticket.h"

#include "common/config/record_needs.h"
#include "common/diffusion/sampling.h"
#include "common/error.h"

#include <torch/types.h>

#include <algorithm>

namespace nabla {

namespace {

struct SampledPoints {
  ChosenPoints points;
  EncodedPrompts prompts;
};

TrajectoryNoise noise_of(const Ticket& ticket, const Workbench& bench) {
  std::vector<std::uint64_t> seeds;
  std::vector<std::int64_t> slots;
  for (const auto& order : ticket.slots) {
    seeds.push_back(order.seed);
    slots.push_back(order.slot);
  }
  return TrajectoryNoise::for_slots(seeds, slots, bench.latent_shape);
}

// Row of (trajectory b, its k-th chosen transition).
std::int64_t row_of(std::size_t trajectory, std::size_t choice, std::size_t rows_a_trajectory) {
  return static_cast<std::int64_t>(trajectory * rows_a_trajectory + choice);
}

void require_workable(const Ticket& ticket, std::size_t num_steps) {
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
    const bool ordered = std::is_sorted(order.transitions.begin(), order.transitions.end());
    if (!ordered || static_cast<std::size_t>(order.transitions.back()) + 1 != num_steps) {
      throw failure("[actor] ticket {}: the transitions of slot {} do not ascend to the terminal one, {}", ticket.id, order.slot,
                    num_steps - 1);
    }
  }
}

// The standard normal noise of V noisings, [V*B,C,h,w]: the slots' own streams go on where the trajectory left them.
Tensor renoising_of(TrajectoryNoise& noise, std::int64_t samples) {
  std::vector<Tensor> draws;
  for (std::int64_t sample = 0; sample < samples; ++sample) draws.push_back(noise.next_step());
  return samples > 0 ? at::cat(draws) : Tensor();
}

// Runs the sampler and keeps x, y and the prediction where a slot chose the step; every state where lean adjoints are asked for.
SampledPoints sample_points(Workbench& bench, const Ticket& ticket, const RecordNeeds& needs, Progress& progress) {
  const std::size_t rows_each = ticket.slots.front().transitions.size();
  std::vector<std::string> texts;
  for (const auto& order : ticket.slots) texts.push_back(order.prompt);
  SampledPoints sampled{.points = {}, .prompts = encode_prompts(bench, texts)};
  const bool keep_states = needs.gradient_kind == "lean_adjoint";
  std::vector<Tensor>& states = sampled.points.trajectories.states;

  std::vector<std::int64_t> shape{static_cast<std::int64_t>(ticket.slots.size() * rows_each)};
  shape.insert(shape.end(), bench.latent_shape.begin(), bench.latent_shape.end());
  sampled.points.x = at::empty(shape, at::kFloat);
  sampled.points.y = at::empty(shape, at::kFloat);
  sampled.points.eps_behaviour = at::empty(shape, at::kFloat);

  const auto keep = [&](std::size_t step, const Tensor& x, const Tensor& prediction, const Tensor& next) {
    for (std::size_t b = 0; b < ticket.slots.size(); ++b) {
      for (std::size_t k = 0; k < rows_each; ++k) {
        if (static_cast<std::size_t>(ticket.slots[b].transitions[k]) != step) continue;
        const auto row = row_of(b, k, rows_each), trajectory = static_cast<std::int64_t>(b);
        sampled.points.x[row].copy_(x[trajectory]);
        sampled.points.y[row].copy_(next[trajectory]);
        sampled.points.eps_behaviour[row].copy_(prediction[trajectory]);
      }
    }
    if (keep_states) states.push_back(x);
    progress.step();
  };
  TrajectoryNoise noise = noise_of(ticket, bench);
  const Tensor last = sample_latents(
      *bench.policy, WeightMode::kMerged, bench.table, sampled.prompts.conditioning, noise.start(),
      [&](std::size_t) { return noise.next_step(); }, keep);
  if (keep_states) states.push_back(last);
  sampled.points.terminal_latents = last.repeat_interleave(static_cast<std::int64_t>(rows_each), 0);
  sampled.points.trajectories.renoising = renoising_of(noise, needs.renoised);
  return sampled;
}

void describe_rows(const Workbench& bench, const Ticket& ticket, SampledPoints& sampled) {
  ChosenPoints& points = sampled.points;
  std::vector<std::int64_t> timestep, next_timestep, trajectory, terminal;
  const auto last_step = static_cast<std::int32_t>(bench.table.transitions.size()) - 1;
  for (std::size_t b = 0; b < ticket.slots.size(); ++b) {
    for (const auto step : ticket.slots[b].transitions) {
      const Transition& transition = bench.table.transitions[static_cast<std::size_t>(step)];
      timestep.push_back(transition.timestep);
      next_timestep.push_back(transition.next_timestep);
      trajectory.push_back(static_cast<std::int64_t>(b));
      terminal.push_back(step == last_step ? 1 : 0);
      points.steps.push_back(step);
      points.prompts.push_back(ticket.slots[b].prompt);
    }
  }
  points.timestep = torch::tensor(timestep, at::kLong);
  points.next_timestep = torch::tensor(next_timestep, at::kLong);
  points.is_terminal = torch::tensor(terminal, at::kLong).to(at::kBool);
  const Conditioning& each = sampled.prompts.conditioning;
  points.conditioning = {each.prompt_embeds.index_select(0, torch::tensor(trajectory, at::kLong)), each.negative_embeds};
}

void add_rows(std::map<std::string, TensorSource>& tensors, std::vector<Tensor>& alive, const std::string& name, const Tensor& all,
              std::int64_t first, std::int64_t rows) {
  if (!all.defined()) return;
  alive.push_back(all.narrow(0, first, rows).contiguous());
  const Tensor& part = alive.back();
  tensors[name] = {dtype_of(part), part.sizes().vec(),
                   std::as_bytes(std::span(part.data_ptr<float>(), static_cast<std::size_t>(part.numel())))};
}

EncodedRecord record_of(const Workbench& bench, const RecordNeeds& needs, const Ticket& ticket, std::size_t trajectory,
                        const RecordOrigin& origin, const SampledPoints& sampled, const PointTensors& values) {
  const SlotOrder& order = ticket.slots[trajectory];
  const auto rows = static_cast<std::int64_t>(order.transitions.size());
  const auto first = static_cast<std::int64_t>(trajectory) * rows;
  RecordHeader header;
  header.run_id = origin.run_id;
  header.slot = order.slot;
  header.update = ticket.update;
  header.ticket_id = ticket.id;
  header.actor_id = origin.actor_id;
  header.version = origin.version;
  header.digest = origin.digest;
  header.prompt_index = order.prompt_index;
  header.prompt = order.prompt;
  header.token_ids = sampled.prompts.token_ids[trajectory];
  header.seed = order.seed;
  header.step_table_id = bench.table.id;
  for (const auto step : order.transitions) {
    const Transition& transition = bench.table.transitions[static_cast<std::size_t>(step)];
    header.transitions.push_back({step, transition.timestep, transition.next_timestep});
  }
  header.reward = values.rewards[first + rows - 1].item<float>();
  header.reward_spec = bench.reward->spec();
  header.gradient_kind = needs.gradient_kind;

  std::vector<Tensor> alive;
  std::map<std::string, TensorSource> tensors;
  add_rows(tensors, alive, "x", sampled.points.x, first, rows);
  add_rows(tensors, alive, "y", sampled.points.y, first, rows);
  add_rows(tensors, alive, "eps_behaviour", sampled.points.eps_behaviour, first, rows);
  add_rows(tensors, alive, "eps_reference", values.eps_reference, first, rows);
  add_rows(tensors, alive, "reward_grad_y", values.reward_grad_y, first, rows);
  add_rows(tensors, alive, "reward_grad_x", values.reward_grad_x, first, rows);
  add_rows(tensors, alive, "reverse_score_reference", values.reverse_score_reference, first, rows);
  add_rows(tensors, alive, "reverse_score_policy", values.reverse_score_policy, first, rows);
  add_rows(tensors, alive, "reverse_rao_blackwell", values.reverse_rao_blackwell, first, rows);
  add_rows(tensors, alive, "reward_grad_x0", values.reward_grad_x0, first, rows);
  const auto first_renoised = static_cast<std::int64_t>(trajectory) * needs.renoised;
  add_rows(tensors, alive, "renoised_x", values.renoised_x, first_renoised, needs.renoised);
  add_rows(tensors, alive, "renoised_reward_grad", values.renoised_reward_grad, first_renoised, needs.renoised);
  return encode_record(std::move(header), pack_tensors(tensors));
}

// Each decoded row goes through decoder and reward once and back once, a scored one does not go back.
void count_pictures(PictureCounters& counters, const PointTensors& values) {
  for (auto* counter : {&counters.decoder_forwards, &counters.reward_forwards}) *counter += values.decoded_rows + values.scored_rows;
  for (auto* counter : {&counters.decoder_backwards, &counters.reward_backwards}) *counter += values.decoded_rows;
}

PointOptions point_options(const RunConfig& config, const RecordNeeds& needs) {
  PointOptions options;
  if (needs.gradient_kind != "none") options.gradient = gradient_kind_from_name(needs.gradient_kind);
  options.want = {.reward_grad_y = needs.reward_grad_y,
                  .reward_grad_x = needs.reward_grad_x,
                  .reward_grad_x0 = needs.reward_grad_x0,
                  .reverse_score_reference = needs.reverse_score_reference,
                  .reverse_score_policy = needs.reverse_score_policy,
                  .reverse_rao_blackwell = needs.reverse_rao_blackwell};
  options.x0hat_bf16 = config.compat.x0hat_bf16;
  return options;
}

}  // namespace

std::vector<EncodedRecord> sample_ticket(Workbench& bench, const RunConfig& config, const Ticket& ticket, const RecordOrigin& origin,
                                         Progress& progress) {
  require_workable(ticket, bench.table.transitions.size());
  progress.begin_stage("sampling");
  const RecordNeeds needs = record_needs_of(config);
  SampledPoints sampled = sample_points(bench, ticket, needs, progress);
  describe_rows(bench, ticket, sampled);

  PointOptions options = point_options(config, needs);
  options.on_stage = [&](const std::string& stage) {
    progress.begin_stage(stage);
    progress.step();
  };
  const PointTensors values = evaluate_points(*bench.policy, *bench.vae, *bench.reward, bench.table, sampled.points, options);
  count_pictures(bench.counters, values);

  progress.begin_stage("encoding");
  std::vector<EncodedRecord> records;
  for (std::size_t b = 0; b < ticket.slots.size(); ++b) records.push_back(record_of(bench, needs, ticket, b, origin, sampled, values));
  return records;
}

}  // namespace nabla
