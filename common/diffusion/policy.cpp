#include "common/diffusion/policy.h"

#include "common/device/transfer.h"
#include "common/error.h"

#include <torch/types.h>

namespace nabla {

namespace {

Placement placement_of_network(const UNet2DConditionModel& unet) {
  const Tensor first = unet.parameters().front();
  return Placement(first.scalar_type(), first.device());
}

}  // namespace

Policy::Policy(std::shared_ptr<UNet2DConditionModel> unet, const LoraConfig& config, double guidance_scale, std::uint64_t lora_seed)
    : unet_(std::move(unet)),
      lora_(LoraAdapter::create(*unet_, config, lora_seed)),
      guidance_scale_(guidance_scale),
      placement_(placement_of_network(*unet_)) {}

Policy::Policy(std::shared_ptr<UNet2DConditionModel> unet, LoraAdapter lora, double guidance_scale)
    : unet_(std::move(unet)), lora_(std::move(lora)), guidance_scale_(guidance_scale), placement_(placement_of_network(*unet_)) {}

Tensor Policy::predict(WeightMode mode, const Tensor& x, const Tensor& timestep, const Conditioning& conditioning) {
  const std::int64_t n = x.size(0);
  if (timestep.dim() != 1 || timestep.size(0) != n || conditioning.prompt_embeds.size(0) != n) {
    throw failure("[policy] {} latents, timesteps of shape {} and prompt_embeds of shape {}: one row each is expected", n,
                  shape_string(timestep), shape_string(conditioning.prompt_embeds));
  }
  lora_.set_mode(mode);
  counters.forwards += n;
  const Tensor prediction = evaluate(x, timestep, conditioning);
  if (prediction.requires_grad()) prediction.register_hook([counted = counted_, n](const Tensor&) { counted->backwards += n; });
  return prediction;
}

Tensor Policy::evaluate(const Tensor& x, const Tensor& timestep, const Conditioning& conditioning) {
  const std::int64_t n = x.size(0);
  const Tensor input = x.to(placement_.device, placement_.dtype);
  const Tensor times = to_device(timestep, placement_.device);
  // Guidance is applied in float32, in float64 where the network computes so.
  if (guidance_scale_ == 1.0) return at_least_float(unet_->forward(input, times, conditioning.prompt_embeds.to(input.options())));
  // Until the network first looks at the prompt, both halves are the same: it computes them once.
  const Tensor both = at_least_float(unet_->forward(input, times, batch_embeds(conditioning, input)));
  const Tensor unconditional = both.narrow(0, 0, n);
  return at::add(unconditional, both.narrow(0, n, n) - unconditional, guidance_scale_);
}

Tensor Policy::batch_embeds(const Conditioning& conditioning, const Tensor& input) {
  const Tensor &prompt = conditioning.prompt_embeds, &negative = conditioning.negative_embeds;
  const bool cached = embeds_.batch.defined() && embeds_.prompt.is_same(prompt) && embeds_.negative.is_same(negative) &&
                      embeds_.batch.device() == input.device();
  if (cached) return embeds_.batch;
  Tensor batch = at::cat({negative.expand({prompt.size(0), -1, -1}), prompt}).to(input.options());
  // A batch with a graph belongs to one backward pass; kept, it would be freed under the next.
  if (!batch.requires_grad()) embeds_ = {prompt, negative, batch};
  return batch;
}

void Policy::load(const TensorMap& lora) { lora_.load(lora); }

std::string Policy::digest() const { return digest_of(lora_.tensors()); }

}  // namespace nabla
