#include "learner/publisher.h"

#include "common/crc32c.h"
#include "learner/collate.h"

#include <torch/types.h>

#include <cmath>

namespace nabla {

namespace {

// Of the evaluation streams, far beyond any picture; the same input in every run.
constexpr std::uint64_t kCheckStream = std::uint64_t{1} << 40;

double root_mean_square(const Tensor& tensor) { return std::sqrt(tensor.to(at::kDouble).square().mean().item<double>()); }

}  // namespace

Publisher::Publisher(LearnerModel& model) : model_(model) {
  std::vector<std::int64_t> shape{2};
  shape.insert(shape.end(), model.latent_shape.begin(), model.latent_shape.end());
  sample_ = normal_tensor(shape, Philox(0, RandomPurpose::kEvaluationNoise, kCheckStream));
  const auto& steps = model.table.transitions;
  timestep_ = torch::tensor(std::vector<std::int64_t>{steps[steps.size() / 4].timestep, steps[steps.size() * 3 / 4].timestep}, at::kLong);
  PromptEncoder prompts(model.text_encoder);
  conditioning_ = {prompts.encode(model.check_prompt).expand({2, -1, -1}).contiguous(), prompts.encode(model.empty_prompt)};
}

double Publisher::CheckPair::drift() const { return root_mean_square(difference) / root_mean_square(reference); }

Publisher::CheckPair Publisher::predict_check_pair() {
  const at::NoGradGuard no_grad;
  Policy& policy = *model_.policy;
  const auto counters = policy.counters;  // the check pair is no part of the training's cost
  const Tensor reference = policy.predict(WeightMode::kBase, sample_, timestep_, conditioning_);
  const Tensor difference = policy.predict(WeightMode::kAdapter, sample_, timestep_, conditioning_) - reference;
  policy.counters = counters;
  return {reference, difference};
}

double Publisher::drift() { return predict_check_pair().drift(); }

Publication Publisher::publish(std::int64_t version) {
  const at::NoGradGuard no_grad;
  Policy& policy = *model_.policy;
  const CheckPair check = predict_check_pair();
  TensorMap tensors = policy.lora().tensors();
  tensors["check.sample"] = sample_;
  tensors["check.timestep"] = timestep_;
  tensors["check.prompt_embeds"] = conditioning_.prompt_embeds;
  tensors["check.negative_embeds"] = conditioning_.negative_embeds;
  tensors["check.difference"] = check.difference;
  std::map<std::string, TensorSource> sources;
  for (auto& [name, tensor] : tensors) {
    tensor = tensor.cpu().contiguous();
    sources[name] = {dtype_of(tensor), tensor.sizes().vec(),
                     std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes())};
  }
  PackedTensors packed = pack_tensors(sources);
  const std::uint32_t crc = crc32c(packed.data.view);
  return {{version, policy.digest(), model_.base_digest, std::move(packed.table), std::move(packed.data), crc}, check.drift()};
}

}  // namespace nabla
