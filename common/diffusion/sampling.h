#pragma once

#include "common/diffusion/policy.h"
#include "common/diffusion/transition_kernel.h"
#include "common/diffusion/vae.h"

#include <functional>
#include <vector>

namespace nabla {

// Start noise [N,C,h,w] and the noise of one step [N,C,h,w]; row i is keyed by (seeds[i], purpose, indices[i]), whatever the batch.
class TrajectoryNoise {
 public:
  TrajectoryNoise(std::vector<std::uint64_t> seeds, std::vector<std::uint64_t> indices, std::vector<std::int64_t> latent_shape);
  Tensor start() const;
  // Steps are drawn in order 0, 1, ...
  Tensor next_step();

 private:
  std::vector<Philox> step_streams_;
  std::vector<std::uint64_t> seeds_, indices_;
  std::vector<std::int64_t> latent_shape_;
};

// Called after each step j with x_j, the guided prediction at x_j and x_{j+1}; all [N,C,h,w], without a graph.
using StepObserver = std::function<void(std::size_t step, const Tensor& x, const Tensor& prediction, const Tensor& next)>;

// Runs the whole table from `start` without gradients; `step_noise(j)` is asked only where sigma > 0. Returns the final latents [N,C,h,w].
Tensor sample_latents(Policy& policy, WeightMode mode, const StepTable& table, const Conditioning& conditioning, const Tensor& start,
                      const std::function<Tensor(std::size_t)>& step_noise, const StepObserver& observer);

}  // namespace nabla
