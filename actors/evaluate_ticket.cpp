#include "actors/evaluate_ticket.h"

#include "common/diffusion/sampling.h"
#include "common/error.h"
#include "common/pocket/caption.h"

#include <torch/types.h>

namespace nabla {

namespace {

// 1 where the checker sees what the caption names; a picture whose prompt is no caption counts as wrong.
std::map<std::string, Tensor> judge(pocket::Checker& checker, const Tensor& images, const std::vector<std::string>& prompts) {
  const pocket::Checker::Verdict verdict = checker.judge(images);
  const auto count = static_cast<std::int64_t>(prompts.size());
  std::map<std::string, Tensor> judged{{"features", verdict.features.to(at::kFloat).contiguous()},
                                       {"shape_correct", at::zeros({count}, at::kByte)},
                                       {"color_correct", at::zeros({count}, at::kByte)},
                                       {"count_correct", at::zeros({count}, at::kByte)}};
  for (std::int64_t i = 0; i < count; ++i) {
    const auto scene = pocket::parse_caption(prompts[static_cast<std::size_t>(i)]);
    if (!scene) continue;
    judged["shape_correct"][i] = verdict.shape[i].item<std::int64_t>() == scene->shape ? 1 : 0;
    judged["color_correct"][i] = verdict.color[i].item<std::int64_t>() == scene->color ? 1 : 0;
    judged["count_correct"][i] = verdict.count[i].item<std::int64_t>() == scene->count - 1 ? 1 : 0;
  }
  return judged;
}

EvaluationResult pack_result(const Ticket& ticket, const std::map<std::string, Tensor>& tensors) {
  EvaluationResult result;
  result.ticket_id = ticket.id;
  for (const auto& order : ticket.slots) {
    result.pictures.push_back(order.slot);
    result.prompts.push_back(order.prompt);
  }
  std::map<std::string, TensorSource> sources;
  for (const auto& [name, tensor] : tensors) {
    sources[name] = {dtype_of(tensor), tensor.sizes().vec(),
                     std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes())};
  }
  PackedTensors packed = pack_tensors(sources);
  result.table = std::move(packed.table);
  result.data = std::move(packed.data);
  return result;
}

}  // namespace

EvaluationResult evaluate_ticket(Workbench& bench, const Ticket& ticket, Progress& progress) {
  if (ticket.slots.empty()) throw failure("[actor] evaluation ticket {} has no pictures", ticket.id);
  const at::NoGradGuard no_grad;
  progress.begin_stage("evaluation");
  std::vector<std::string> prompts;
  std::vector<std::uint64_t> seeds;
  std::vector<std::int64_t> pictures;
  for (const auto& order : ticket.slots) {
    prompts.push_back(order.prompt);
    seeds.push_back(order.seed);
    pictures.push_back(order.slot);
  }
  const EncodedPrompts encoded = encode_prompts(bench, prompts);
  TrajectoryNoise noise = TrajectoryNoise::for_pictures(seeds, pictures, bench.latent_shape);
  const Tensor latents = sample_latents(
      *bench.policy, WeightMode::kMerged, bench.table, encoded.conditioning, noise.start(), [&](std::size_t) { return noise.next_step(); },
      [&](std::size_t, const Tensor&, const Tensor&, const Tensor&) { progress.step(); }, bench.network_calls);
  const Tensor images = decode_image_sliced(*bench.vae, latents, bench.decode_rows);

  std::map<std::string, Tensor> tensors{{"reward", bench.reward->score(images, prompts).detach().contiguous()},
                                        {"image", (images * 255.0F).round().to(at::kByte).contiguous()}};
  if (bench.true_reward) tensors["true_reward"] = bench.true_reward->score(images, prompts).detach().contiguous();
  for (auto& [name, tensor] : tensors) tensor = tensor.cpu();
  if (bench.checker) tensors.merge(judge(*bench.checker, images.cpu(), prompts));
  bench.counters.decoder_forwards += images.size(0);
  bench.counters.reward_forwards += images.size(0);
  return pack_result(ticket, tensors);
}

}  // namespace nabla
