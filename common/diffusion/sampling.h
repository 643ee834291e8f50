#pragma once

#include "common/diffusion/policy.h"
#include "common/diffusion/transition_kernel.h"
#include "common/diffusion/vae.h"

#include <functional>
#include <vector>

namespace nabla {

// Start noise [N,C,h,w] and the noise of one step [N,C,h,w]; row i comes from streams keyed by its own seed and index, whatever the batch.
class TrajectoryNoise {
 public:
  // Streams (seed, kStartNoise | kStepNoise, slot).
  static TrajectoryNoise for_slots(const std::vector<std::uint64_t>& seeds, const std::vector<std::int64_t>& slots,
                                   std::vector<std::int64_t> latent_shape);
  // Streams (seed, kEvaluationNoise, 2 * picture | 2 * picture + 1): never those of a training slot.
  static TrajectoryNoise for_pictures(const std::vector<std::uint64_t>& seeds, const std::vector<std::int64_t>& pictures,
                                      std::vector<std::int64_t> latent_shape);
  Tensor start() const { return start_; }
  // The noise of the next step; steps are drawn in the order in which they are taken.
  Tensor next_step();

 private:
  TrajectoryNoise(const std::vector<Philox>& start_streams, std::vector<Philox> step_streams, std::vector<std::int64_t> latent_shape);

  Tensor start_;
  std::vector<Philox> step_streams_;
  std::vector<std::int64_t> latent_shape_;
};

// Called after each step j with x_j, the guided prediction at x_j and x_{j+1}; all [N,C,h,w], without a graph.
using StepObserver = std::function<void(std::size_t step, const Tensor& x, const Tensor& prediction, const Tensor& next)>;

// How the sampler calls its network: step by step, or on a GPU as one recorded graph for the whole table.
enum class NetworkCalls { kPlain, kGraphed };

// Runs the whole table from `start` without gradients; `step_noise(j)` is asked only where sigma > 0. Noise may come from the CPU, whatever the policy computes
// on. Returns the final latents [N,C,h,w] on the policy's device, where all that is observed is too.
Tensor sample_latents(Policy& policy, WeightMode mode, const StepTable& table, const Conditioning& conditioning, const Tensor& start,
                      const std::function<Tensor(std::size_t)>& step_noise, const StepObserver& observer,
                      NetworkCalls calls = NetworkCalls::kPlain);

}  // namespace nabla
