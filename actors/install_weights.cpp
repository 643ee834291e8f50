#include "actors/install_weights.h"

#include "common/device/transfer.h"
#include "common/error.h"
#include "common/failpoint.h"

#include <torch/types.h>

#include <cmath>

namespace nabla {

namespace {

// Merged and unmerged adapters round differently: relative to the change itself, with a floor relative to the prediction.
constexpr double kChangeTolerance = 2e-2;
constexpr double kPredictionTolerance = 5e-5;         // rounding was up to 6e-6 with guidance 9
constexpr double kRoundedPredictionTolerance = 0.15;  // of bfloat16 networks on different devices

// Views of the snapshot's bytes as tensors; the snapshot must outlive them.
TensorMap tensors_of(const Snapshot& snapshot) {
  if (const auto fault = find_table_fault(snapshot.table, snapshot.data.view.size()))
    throw failure("[weights] version {}: {}", snapshot.version, *fault);
  TensorMap tensors;
  for (const auto& entry : snapshot.table) {
    auto* bytes = const_cast<std::byte*>(snapshot.data.view.data() + entry.offset);
    tensors[entry.name] = at::from_blob(bytes, entry.shape, at::TensorOptions().dtype(scalar_type(entry.dtype)));
  }
  return tensors;
}

double rms(const Tensor& tensor) { return std::sqrt(tensor.to(at::kDouble).square().mean().item<double>()); }

bool is_float(const Tensor& tensor, std::int64_t dimensions) { return tensor.scalar_type() == at::kFloat && tensor.dim() == dimensions; }

// The pair must fit this actor's networks, or they could not be asked.
void require_check_pair(const Workbench& bench, const TensorMap& check, std::int64_t version) {
  for (const auto* name : {"check.sample", "check.timestep", "check.prompt_embeds", "check.negative_embeds", "check.difference"}) {
    if (!check.contains(name)) throw failure("[weights] version {} has no tensor '{}'", version, name);
  }
  const Tensor &sample = check.at("check.sample"), &timestep = check.at("check.timestep"), &difference = check.at("check.difference");
  const Tensor &prompt = check.at("check.prompt_embeds"), &negative = check.at("check.negative_embeds");
  const bool latents = is_float(sample, 4) && sample.sizes().slice(1) == at::IntArrayRef(bench.latent_shape);
  const bool times = timestep.scalar_type() == at::kLong && timestep.dim() == 1 && latents && timestep.size(0) == sample.size(0);
  const bool embeds = is_float(prompt, 3) && is_float(negative, 3) && prompt.size(2) == bench.policy->unet().config().cross_attention_dim;
  if (times && embeds && prompt.size(0) == sample.size(0) && negative.size(0) == 1 &&
      negative.sizes().slice(1) == prompt.sizes().slice(1) && is_float(difference, 4) && difference.sizes() == sample.sizes())
    return;
  throw failure(
      "[weights] version {}: the check pair has sample {}, timestep {}, prompt_embeds {}, negative_embeds {} and difference {}, which "
      "do not fit this actor's base model",
      version, shape_string(sample), shape_string(timestep), shape_string(prompt), shape_string(negative), shape_string(difference));
}

void check_difference(Policy& policy, const TensorMap& check, std::int64_t version) {
  const at::NoGradGuard no_grad;
  const Conditioning conditioning{check.at("check.prompt_embeds"), check.at("check.negative_embeds")};
  const Tensor& sample = check.at("check.sample");
  const Tensor& timestep = check.at("check.timestep");
  const auto counters = policy.counters;  // the check pair is no part of the sampling's cost
  const Tensor reference = policy.predict(WeightMode::kBase, sample, timestep, conditioning);
  const Tensor difference = policy.predict(WeightMode::kMerged, sample, timestep, conditioning) - reference;
  policy.counters = counters;
  const double error = rms(difference - to_device(check.at("check.difference"), policy.device()));
  const double expected = rms(check.at("check.difference"));
  const bool rounded = policy.network_dtype() == at::kBFloat16;
  const double tolerance = kChangeTolerance * expected + (rounded ? kRoundedPredictionTolerance : kPredictionTolerance) * rms(reference);
  if (error <= tolerance) return;
  throw failure(
      "[weights] version {} is loaded but not used as it should be: eps_theta - eps_reference on the check input has RMS {:.3e} here, "
      "{:.3e} was announced (error {:.3e}, allowed {:.3e}). Is this actor's base model or adapter path another?",
      version, rms(difference), expected, error, tolerance);
}

}  // namespace

void install_weights(Workbench& bench, const Snapshot& snapshot) {
  if (snapshot.base_digest != bench.base_digest) {
    throw data_error("[weights] version {} belongs to base model {}, this actor has loaded {}; point pretrained.model at the run's model",
                     snapshot.version, snapshot.base_digest, bench.base_digest);
  }
  TensorMap lora, check;
  for (auto& [name, tensor] : tensors_of(snapshot)) (name.starts_with("check.") ? check : lora)[name] = tensor;
  require_check_pair(bench, check, snapshot.version);
  bench.policy->load(lora);
  failpoint("actor.mid_swap");
  const std::string digest = bench.policy->digest();
  if (digest != snapshot.digest) {
    throw failure("[weights] version {}: the tensors read back from the model have digest {}, {} was announced", snapshot.version, digest,
                  snapshot.digest);
  }
  check_difference(*bench.policy, check, snapshot.version);
}

}  // namespace nabla
