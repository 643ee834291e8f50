#pragma once

#include "common/diffusion/tensors.h"
#include "common/philox.h"

#include <cstdint>

namespace nabla::truth {

// Letters: R rows, K modes, d dimensions. Everything is float64 on the CPU; a state of the loss code is [R,d,1,1], here [R,d].

// sum_k weights_k N(means_k, covariances_k).
struct Mixture {
  Tensor weights;      // [K], sums to 1
  Tensor means;        // [K,d]
  Tensor covariances;  // [K,d,d]
};

// log R(x) = -1/2 (x-c)' A (x-c) + v' x.
struct QuadraticReward {
  Tensor center;     // c [d]
  Tensor curvature;  // A [d,d], symmetric, no negative eigenvalue
  Tensor slope;      // v [d]
};

Tensor log_reward(const QuadraticReward& reward, const Tensor& x);       // [R,d] -> [R]
Tensor reward_gradient(const QuadraticReward& reward, const Tensor& x);  // [R,d] -> [R,d]

// The mixture proportional to prior * R^beta (docs/truth.md).
Mixture tilted(const Mixture& prior, const QuadraticReward& reward, double beta);
// The law of sqrt(a) x + sqrt(1-a) noise.
Mixture noised(const Mixture& mixture, double alpha_bar);
Tensor draw(const Mixture& mixture, std::int64_t count, Philox stream);  // [count,d]

// log p with its first two derivatives, all in closed form.
class MixtureDensity {
 public:
  explicit MixtureDensity(const Mixture& mixture);

  Tensor log_density(const Tensor& x) const;  // [R,d] -> [R]
  Tensor score(const Tensor& x) const;        // d log p / dx [R,d]
  // Of the mode that most likely made each row, [R] int64.
  Tensor most_likely_mode(const Tensor& x) const;
  struct Derivatives {
    Tensor score;    // [R,d]
    Tensor hessian;  // [R,d,d]
  };
  Derivatives derivatives(const Tensor& x) const;

 private:
  struct Parts {
    Tensor pulls;   // C_k^-1 (m_k - x) [K,R,d]
    Tensor logits;  // log of weight times density [K,R]
  };
  Parts parts(const Tensor& x) const;

  Tensor means_, precisions_, log_factors_;  // [K,1,d], [K,d,d], [K,1]
};

}  // namespace nabla::truth
