#include "actors/install_weights.h"

#include "common/error.h"

#include <torch/types.h>

#include <cmath>

namespace nabla {

namespace {

// Merged and unmerged adapters round differently: relative to the change itself, with a floor relative to the prediction.
constexpr double kChangeTolerance = 2e-2;
constexpr double kPredictionTolerance = 1e-5;

// Views of the snapshot's bytes as tensors; the snapshot must outlive them.
TensorMap tensors_of(const Snapshot& snapshot) {
  TensorMap tensors;
  for (const auto& entry : snapshot.table) {
    if (entry.offset + entry.size > snapshot.data.view.size()) {
      throw failure("[weights] snapshot {}: tensor '{}' ends beyond the frame", snapshot.version, entry.name);
    }
    auto* bytes = const_cast<std::byte*>(snapshot.data.view.data() + entry.offset);
    tensors[entry.name] = at::from_blob(bytes, entry.shape, at::TensorOptions().dtype(scalar_type(entry.dtype)));
  }
  return tensors;
}

double rms(const Tensor& tensor) { return std::sqrt(tensor.to(at::kDouble).square().mean().item<double>()); }

void check_difference(Policy& policy, const TensorMap& check, std::int64_t version) {
  const at::NoGradGuard no_grad;
  const Conditioning conditioning{check.at("check.prompt_embeds"), check.at("check.negative_embeds")};
  const Tensor& sample = check.at("check.sample");
  const Tensor& timestep = check.at("check.timestep");
  const Tensor reference = policy.predict(WeightMode::kBase, sample, timestep, conditioning);
  const Tensor difference = policy.predict(WeightMode::kMerged, sample, timestep, conditioning) - reference;
  const double error = rms(difference - check.at("check.difference"));
  const double expected = rms(check.at("check.difference"));
  const double tolerance = kChangeTolerance * expected + kPredictionTolerance * rms(reference);
  if (error <= tolerance) return;
  throw failure("[weights] version {} is loaded but not used as it should be: eps_theta - eps_reference on the check input has RMS {:.3e} here, "
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
  for (const auto* name : {"check.sample", "check.timestep", "check.prompt_embeds", "check.negative_embeds", "check.difference"}) {
    if (!check.contains(name)) throw failure("[weights] snapshot {} has no tensor '{}'", snapshot.version, name);
  }
  bench.policy->load(lora);
  const std::string digest = bench.policy->digest();
  if (digest != snapshot.digest) {
    throw failure("[weights] version {}: the tensors read back from the model have digest {}, {} was announced", snapshot.version, digest,
                  snapshot.digest);
  }
  check_difference(*bench.policy, check, snapshot.version);
}

}  // namespace nabla
