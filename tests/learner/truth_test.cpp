#include "tests/diffusion/tiny_configs.h"
#include "tests/learner/truth_training.h"
#include "tests/testing.h"

#include <cmath>

using namespace nabla;
using namespace nabla::truth;

// Case T0 of the test-bed (docs/truth.md): prior N(0,1), log R = v x, beta v = 0.8. The residual flow is log-linear, so the scheme
// has no fixed-variance bias and its output law is known in closed form.

namespace {

constexpr double kBeta = 2.0, kV = 0.4;
constexpr double kTolerance = 1e-4;

StepTable ddpm_50() { return make_step_table(stable_diffusion_schedule(), Sampler::kDdim, 50, 1.0); }

// lambda is 0: tables go to the minimum at once, so there is nothing to hold back.
TrainingOptions options_of(const StepTable& table) {
  TrainingOptions options;
  options.objective = {.reward_scale = kBeta, .reverse_loss_scale = 1.0, .unet_reg_scale = 0.0};
  options.choice.num_steps = static_cast<std::int64_t>(table.transitions.size());
  return options;
}

Law trained_law(const StepTable& table, const TrainingOptions& options) {
  Training training(gaussian_case(kV), table, options);
  training.run();
  return output_law(training, table);
}

// Both finite-schedule corrections of 5.2: variance of the chain's own end, and the start law N(0,1) in place of the tilted one.
Law closed_form(const StepTable& table) {
  Law law;
  for (const auto& t : table.transitions) law.variance = t.alpha_bar / t.alpha_bar_next * law.variance + t.sigma * t.sigma;
  const double start = table.transitions.front().alpha_bar, end = table.transitions.back().alpha_bar_next;
  law.mean = kBeta * kV * (law.variance - start / end);
  return law;
}

bool passes(const Law& law, const Law& truth) {
  return std::abs(law.mean - truth.mean) < kTolerance && std::abs(law.variance - truth.variance) < kTolerance;
}

Law tampered_law(Tampering tampering) {
  const StepTable table = ddpm_50();
  TrainingOptions options = options_of(table);
  options.tampering = tampering;
  return trained_law(table, options);
}

}  // namespace

TEST_CASE("T0: fifty DDPM steps reach the mean and variance of the tilted Gaussian") {
  const StepTable table = ddpm_50();
  const Law law = trained_law(table, options_of(table)), truth = closed_form(table);
  INFO("mean ", law.mean, " of ", truth.mean, ", variance ", law.variance, " of ", truth.variance);
  CHECK(passes(law, truth));
  // The values of 5.2, which no code of ours computed.
  CHECK(law.mean == doctest::Approx(0.710819).epsilon(2e-6));
  CHECK(law.variance == doctest::Approx(0.894304).epsilon(2e-6));
}

TEST_CASE("T0: twenty SDE-DPM-Solver++ steps reach it, and uniform weights as w2 do") {
  const StepTable table = make_step_table(stable_diffusion_schedule(), Sampler::kSdeDpmSolverPp, 20, 1.0);
  TrainingOptions options = options_of(table);
  options.choice.fraction = 0.4;
  for (const auto weighting : {TimeWeighting::kW2, TimeWeighting::kUniform}) {
    options.objective.time_weighting = weighting;
    CHECK(passes(trained_law(table, options), closed_form(table)));
  }
}

TEST_CASE("T0: the flow network takes exactly what the forward-looking gradient lacks") {
  const StepTable table = ddpm_50();
  TrainingOptions options = options_of(table);
  const Tensor points = torch::tensor({-2.0, 0.0, 2.0}, at::kDouble).view({3, 1, 1, 1});
  const double end = table.transitions.back().alpha_bar_next;
  for (const auto gamma : {RewardGamma::kSquared, RewardGamma::kLinear, RewardGamma::kOne}) {
    options.objective.gamma = gamma;
    Training training(gaussian_case(kV), table, options);
    training.run();
    for (std::size_t step = 0; step < table.transitions.size(); ++step) {
      const double a = table.transitions[step].alpha_bar;
      const double factor = gamma == RewardGamma::kOne ? 1.0 : gamma == RewardGamma::kLinear ? std::sqrt(a) : a;
      const Tensor wanted = at::full_like(points, kBeta * kV * std::sqrt(a) * (1.0 / std::sqrt(end) - factor));
      CHECK((training.flow(step, points) - wanted).abs().max().item<double>() < 1e-9);
      const Tensor score = at::full_like(points, kBeta * kV * std::sqrt(a / end));
      CHECK((training.flow_score(step, points) - score).abs().max().item<double>() < 1e-9);
    }
    CHECK(training.flow(table.transitions.size(), points).abs().max().item<double>() < 1e-9);
  }
}

TEST_CASE("T0: without a terminal target the policy stays at the prior, and the test notices") {
  const StepTable table = ddpm_50();
  const Law law = tampered_law(Tampering::kNoTerminalTarget);
  CHECK_FALSE(passes(law, closed_form(table)));
  CHECK(std::abs(law.mean) < 0.1);
}

TEST_CASE("T0: a reward gradient of the wrong sign tilts the other way, and the test notices") {
  const StepTable table = ddpm_50();
  const Law law = tampered_law(Tampering::kRewardSign);
  CHECK_FALSE(passes(law, closed_form(table)));
  CHECK(law.mean == doctest::Approx(-closed_form(table).mean).epsilon(1e-4));
}

TEST_CASE("T0: a reverse target of the wrong sign is noticed") {
  const Law law = tampered_law(Tampering::kReverseSign), truth = closed_form(ddpm_50());
  INFO("mean ", law.mean);
  CHECK_FALSE(passes(law, truth));
  CHECK(std::abs(law.mean - truth.mean) > 0.1);
}

TEST_CASE("T0: without the flow network gamma = alpha-bar tilts too little, and gamma = 1 almost enough") {
  const StepTable table = ddpm_50();
  const double truth = closed_form(table).mean;
  TrainingOptions options = options_of(table);
  options.objective.flow = false;
  CHECK(trained_law(table, options).mean < 0.98 * truth);
  options.objective.gamma = RewardGamma::kOne;
  CHECK(trained_law(table, options).mean == doctest::Approx(truth).epsilon(1e-3));
}
