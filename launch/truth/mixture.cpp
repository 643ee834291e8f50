#include "launch/truth/mixture.h"

#include <torch/types.h>

#include <cmath>
#include <numbers>

namespace nabla::truth {

namespace {

Tensor identity(std::int64_t d) { return at::eye(d, at::kDouble); }

// v' M v of each row: [..., d], [d,d] -> [...].
Tensor quadratic_form(const Tensor& matrix, const Tensor& vectors) { return (vectors.matmul(matrix) * vectors).sum(-1); }

}  // namespace

Tensor log_reward(const QuadraticReward& reward, const Tensor& x) {
  return x.matmul(reward.slope) - 0.5 * quadratic_form(reward.curvature, x - reward.center);
}

Tensor reward_gradient(const QuadraticReward& reward, const Tensor& x) {
  return reward.slope - (x - reward.center).matmul(reward.curvature);
}

Mixture tilted(const Mixture& prior, const QuadraticReward& reward, double beta) {
  const Tensor precision = at::linalg_inv(prior.covariances);           // C_k^-1
  const Tensor tilted_precision = precision + beta * reward.curvature;  // P_k
  const Tensor covariance = at::linalg_inv(tilted_precision);           // C*_k
  const Tensor pull = beta * (reward.curvature.matmul(reward.center) + reward.slope);
  const Tensor information = precision.matmul(prior.means.unsqueeze(2)).squeeze(2) + pull;
  const Tensor means = covariance.matmul(information.unsqueeze(2)).squeeze(2);
  // The reward's part beta c'Ac is the same for all modes.
  const Tensor log_weights =
      prior.weights.log() - 0.5 * at::logdet(prior.covariances) - 0.5 * at::logdet(tilted_precision) -
      0.5 * (prior.means.unsqueeze(1).matmul(precision).matmul(prior.means.unsqueeze(2)).flatten() - (information * means).sum(1));
  return {log_weights.softmax(0), means, 0.5 * (covariance + covariance.transpose(1, 2))};
}

Mixture noised(const Mixture& mixture, double alpha_bar) {
  return {mixture.weights, std::sqrt(alpha_bar) * mixture.means,
          alpha_bar * mixture.covariances + (1.0 - alpha_bar) * identity(mixture.means.size(1))};
}

Tensor draw(const Mixture& mixture, std::int64_t count, Philox stream) {
  const std::int64_t d = mixture.means.size(1);
  const Tensor cumulative = mixture.weights.cumsum(0);
  Tensor noise = at::empty({count, d}, at::kDouble), mode = at::empty({count}, at::kLong);
  const auto bounds = cumulative.accessor<double, 1>();
  auto values = noise.accessor<double, 2>();
  auto modes = mode.accessor<std::int64_t, 1>();
  for (std::int64_t row = 0; row < count; ++row) {
    const double u = stream.uniform();
    modes[row] = 0;
    while (modes[row] + 1 < bounds.size(0) && u >= bounds[modes[row]]) ++modes[row];
    for (std::int64_t i = 0; i < d; ++i) values[row][i] = stream.normal();
  }
  const Tensor root = at::linalg_cholesky(mixture.covariances).index_select(0, mode);
  return mixture.means.index_select(0, mode) + root.matmul(noise.unsqueeze(2)).squeeze(2);
}

MixtureDensity::MixtureDensity(const Mixture& mixture)
    : means_(mixture.means.unsqueeze(1)), precisions_(at::linalg_inv(mixture.covariances)) {
  const auto d = static_cast<double>(mixture.means.size(1));
  log_factors_ = (mixture.weights.log() - 0.5 * at::logdet(mixture.covariances) - 0.5 * d * std::log(2.0 * std::numbers::pi)).unsqueeze(1);
}

MixtureDensity::Parts MixtureDensity::parts(const Tensor& x) const {
  const Tensor offsets = means_ - x.unsqueeze(0);
  const Tensor pulls = offsets.matmul(precisions_);
  return {pulls, log_factors_ - 0.5 * (pulls * offsets).sum(2)};
}

Tensor MixtureDensity::log_density(const Tensor& x) const { return parts(x).logits.logsumexp(0); }

Tensor MixtureDensity::score(const Tensor& x) const {
  const Parts modes = parts(x);
  return (modes.logits.softmax(0).unsqueeze(2) * modes.pulls).sum(0);
}

Tensor MixtureDensity::most_likely_mode(const Tensor& x) const { return parts(x).logits.argmax(0); }

MixtureDensity::Derivatives MixtureDensity::derivatives(const Tensor& x) const {
  const Parts modes = parts(x);
  const Tensor share = modes.logits.softmax(0);  // [K,R]
  const Tensor weighted = share.unsqueeze(2) * modes.pulls, score = weighted.sum(0);
  const Tensor precision = share.t().matmul(precisions_.flatten(1));  // [R,d*d]
  std::vector<Tensor> entries;
  // Entry by entry: [K,R,d,d] would be several times larger than all else.
  for (std::int64_t i = 0; i < x.size(1); ++i) {
    for (std::int64_t j = 0; j < x.size(1); ++j)
      entries.push_back((weighted.select(2, i) * modes.pulls.select(2, j)).sum(0) - score.select(1, i) * score.select(1, j));
  }
  return {score, (at::stack(entries, 1) - precision).view({-1, x.size(1), x.size(1)})};
}

}  // namespace nabla::truth
