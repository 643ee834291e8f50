#include "launch/evaluation/picture_evaluation.h"

#include "actors/evaluate_ticket.h"
#include "common/diffusion/sampling.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace nabla {

namespace {

constexpr std::size_t kDriftStride = 4;  // every fourth step of a trajectory is compared with the base

// The order of one batch: pictures [first, last).
Ticket batch_ticket(const EvaluationTask& task, std::int64_t first, std::int64_t last) {
  Ticket ticket;
  ticket.kind = TicketKind::kEvaluate;
  for (std::int64_t picture = first; picture < last; ++picture) {
    SlotOrder order;
    order.slot = picture;
    order.prompt_index = picture / task.noises;
    order.prompt = task.prompts[static_cast<std::size_t>(order.prompt_index)];
    order.seed = task.seed;
    ticket.slots.push_back(std::move(order));
  }
  return ticket;
}

template <class T>
void append(const EvaluationResult& result, const char* name, std::vector<double>& to) {
  const TensorEntry* entry = find_tensor(result.table, name);
  if (entry == nullptr) return;
  std::vector<T> values(entry->size / sizeof(T));
  std::memcpy(values.data(), result.data.view.data() + entry->offset, entry->size);
  to.insert(to.end(), values.begin(), values.end());
}

Tensor features_of(const EvaluationResult& result) {
  const TensorEntry* entry = find_tensor(result.table, "features");
  if (entry == nullptr) return {};
  Tensor features = at::empty({entry->shape[0], entry->shape[1]}, at::kFloat);
  std::memcpy(features.data_ptr(), result.data.view.data() + entry->offset, entry->size);
  return features;
}

// Sums over elements, of the prompts of one batch.
struct SquaredSizes {
  double change = 0, base = 0;
};

void add_sizes(Workbench& bench, const EvaluationTask& task, std::size_t first, std::size_t last, SquaredSizes& sizes) {
  const std::vector<std::uint64_t> seeds(last - first, task.seed);
  std::vector<std::int64_t> pictures;
  for (std::size_t prompt = first; prompt < last; ++prompt) pictures.push_back(static_cast<std::int64_t>(prompt) * task.noises);
  const auto prompts = task.prompts.begin();
  const Conditioning conditioning =
      encode_prompts(bench, {prompts + static_cast<std::ptrdiff_t>(first), prompts + static_cast<std::ptrdiff_t>(last)}).conditioning;
  TrajectoryNoise noise = TrajectoryNoise::for_pictures(seeds, pictures, bench.latent_shape);
  sample_latents(*bench.policy, WeightMode::kMerged, bench.table, conditioning, noise.start(), [&](std::size_t) { return noise.next_step(); },
                 [&](std::size_t step, const Tensor& x, const Tensor& prediction, const Tensor&) {
                   if (step % kDriftStride != 0) return;
                   const Tensor timestep = at::full({x.size(0)}, bench.table.transitions[step].timestep, at::kLong);
                   const Tensor base = bench.policy->predict(WeightMode::kBase, x, timestep, conditioning);
                   sizes.change += (prediction - base).square().sum().item<double>();
                   sizes.base += base.square().sum().item<double>();
                 });
}

}  // namespace

PictureEvaluation evaluate_pictures(Workbench& bench, const EvaluationTask& task) {
  PictureEvaluation evaluation;
  Progress progress([](const Heartbeat&) {}, {});
  std::vector<Tensor> features;
  const auto pictures = static_cast<std::int64_t>(task.prompts.size()) * task.noises;
  for (std::int64_t first = 0; first < pictures; first += task.batch) {
    const EvaluationResult result = evaluate_ticket(bench, batch_ticket(task, first, std::min(first + task.batch, pictures)), progress);
    append<float>(result, "reward", evaluation.rewards);
    append<float>(result, "true_reward", evaluation.true_rewards);
    append<std::uint8_t>(result, "shape_correct", evaluation.shape_correct);
    append<std::uint8_t>(result, "color_correct", evaluation.color_correct);
    append<std::uint8_t>(result, "count_correct", evaluation.count_correct);
    if (const Tensor batch = features_of(result); batch.defined()) features.push_back(batch);
  }
  if (!features.empty()) evaluation.features = at::cat(features);
  return evaluation;
}

double drift_of(Workbench& bench, const EvaluationTask& task) {
  const at::NoGradGuard no_grad;
  const auto batch = static_cast<std::size_t>(task.batch);
  SquaredSizes sizes;
  for (std::size_t first = 0; first < task.prompts.size(); first += batch)
    add_sizes(bench, task, first, std::min(first + batch, task.prompts.size()), sizes);
  return sizes.base > 0.0 ? std::sqrt(sizes.change / sizes.base) : 0.0;
}

}  // namespace nabla
