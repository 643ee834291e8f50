#include "common/error.h"
#include "tests/actors/point_oracle.h"
#include "tests/common/error_check.h"

using namespace nabla;

namespace {

template <class Expected>
void check_rows(const char* name, const Tensor& ours, Expected expected, double tolerance) {
  REQUIRE(ours.defined());
  CHECK_FALSE(ours.requires_grad());
  for (std::int64_t row = 0; row < kRows; ++row) {
    INFO(name, " of row ", row);
    CHECK(relative_error(PointOracle::row_of(ours, row), expected(row)) < tolerance);
  }
}

void check_all(PointScene& scene, GradientKind kind, double tolerance) {
  const PointTensors values = scene.evaluate({.gradient = kind, .want = {.eps_behaviour = true}, .on_stage = {}});
  PointOracle oracle(scene);
  const WeightMode mode = kind == GradientKind::kReferenceFl ? WeightMode::kBase : WeightMode::kAdapter;
  const bool terminal = kind == GradientKind::kTerminal;
  check_rows(
      "eps_behaviour", values.eps_behaviour, [&](auto row) { return oracle.prediction_at_x(WeightMode::kAdapter, row); }, tolerance);
  check_rows(
      "eps_reference", values.eps_reference, [&](auto row) { return oracle.prediction_at_x(WeightMode::kBase, row); }, tolerance);
  check_rows(
      "reverse_score_policy", values.reverse_score_policy, [&](auto row) { return oracle.reverse_score(WeightMode::kAdapter, row); },
      tolerance);
  check_rows(
      "reverse_score_reference", values.reverse_score_reference, [&](auto row) { return oracle.reverse_score(WeightMode::kBase, row); },
      tolerance);
  check_rows(
      "reward_grad_y", values.reward_grad_y,
      [&](auto row) { return terminal ? oracle.terminal_gradient(row) : oracle.reward_grad_y(mode, row); }, tolerance);
  check_rows(
      "reward_grad_x", values.reward_grad_x,
      [&](auto row) { return terminal ? oracle.terminal_gradient(row) : oracle.reward_grad_x(mode, row); }, tolerance);
  const at::NoGradGuard no_grad;
  check_rows(
      "rewards", values.rewards.unsqueeze(1),
      [&](auto row) {
        const Tensor last = PointOracle::row_of(scene.points.terminal_latents, row);
        return terminal ? oracle.score_of(last, row) : oracle.score_at_y(mode, row, PointOracle::row_of(scene.points.y, row));
      },
      tolerance);
}

constexpr GradientKind kKinds[] = {GradientKind::kPolicyFl, GradientKind::kReferenceFl, GradientKind::kTerminal};

// What a run without the flow network asks for.
constexpr PointWants kForwardOnly{.reward_grad_x = false, .reverse_score_reference = false, .reverse_score_policy = false};

std::vector<Tensor> all_of(const PointTensors& values) {
  return {values.eps_behaviour,           values.eps_reference,        values.reward_grad_y, values.reward_grad_x,
          values.reverse_score_reference, values.reverse_score_policy, values.rewards};
}

// The last layer of the decoder moves a channel of the picture by so much.
void shift_picture(PointScene& scene, std::int64_t channel, double by) {
  const at::NoGradGuard no_grad;
  named_tensors(*scene.vae).at("decoder.conv_out.bias")[channel] += by;
}

class MeanOfChannel : public RewardModel {
 public:
  explicit MeanOfChannel(std::int64_t channel) : channel_(channel) {}
  Tensor score(const Tensor& images, const std::vector<std::string>&) override { return images.select(1, channel_).mean({1, 2}); }
  std::string spec() const override { return "channel"; }

 private:
  std::int64_t channel_;
};

}  // namespace

TEST_CASE("every tensor of a point is what autograd makes of its definition, with and without guidance") {
  for (const double guidance : {1.0, 5.0}) {
    PointScene scene(at::kDouble, guidance);
    for (const GradientKind kind : kKinds) {
      INFO("guidance ", guidance, ", gradient kind ", static_cast<int>(kind));
      check_all(scene, kind, 1e-9);
    }
  }
}

TEST_CASE("the same holds in float32, to rounding") {
  PointScene scene(at::kFloat);
  for (const GradientKind kind : kKinds) check_all(scene, kind, 1e-4);
}

TEST_CASE("the Rao-Blackwell tensor is the base model's reverse score at the mean of the policy") {
  PointScene scene;
  const PointOptions options{.want = {.reverse_rao_blackwell = true}, .on_stage = {}};
  const PointTensors values = scene.evaluate(options);
  PointOracle oracle(scene);
  std::vector<Tensor> means;
  for (std::int64_t row = 0; row < kRows; ++row) {
    const Transition& transition = scene.transition(row);
    means.push_back(transition.x_coefficient * PointOracle::row_of(scene.points.x, row) -
                    transition.noise_coefficient * oracle.prediction_at_x(WeightMode::kAdapter, row));
  }
  const Tensor y = scene.points.y;
  scene.points.y = at::cat(means);
  check_rows(
      "reverse_rao_blackwell", values.reverse_rao_blackwell, [&](auto row) { return oracle.reverse_score(WeightMode::kBase, row); }, 1e-9);
  // y does not matter, a prediction that is known already is taken as it is.
  CHECK(scene.evaluate(options).reverse_rao_blackwell.equal(values.reverse_rao_blackwell));
  scene.points.y = y;
  scene.points.eps_behaviour = values.eps_reference;
  CHECK(scene.evaluate(options).reverse_rao_blackwell.abs().max().item<double>() < 1e-12);
}

TEST_CASE("the reward gradient of the clean prediction goes through the decoder alone") {
  PointScene scene;
  scene.policy->counters = {};
  const PointTensors values = scene.evaluate({.want = {.reward_grad_y = false,
                                                       .reward_grad_x = false,
                                                       .reward_grad_x0 = true,
                                                       .reverse_score_reference = false,
                                                       .reverse_score_policy = false},
                                              .on_stage = {}});
  CHECK(scene.policy->counters.backwards == 0);
  CHECK_FALSE(values.reward_grad_y.defined());
  CHECK(values.decoded_rows == kRows);
  CHECK(values.scored_rows == kTrajectories);
  PointOracle oracle(scene);
  check_rows(
      "reward_grad_x0", values.reward_grad_x0, [&](auto row) { return oracle.reward_grad_x0(row); }, 1e-9);
  // The final pictures' rewards are there without a gradient.
  for (std::int64_t row = 0; row < kRows; ++row) {
    const bool terminal = row % kRowsEach == kRowsEach - 1;
    const double score = terminal ? oracle.score_of(PointOracle::row_of(scene.points.y, row), row).item<double>() : 0.0;
    CHECK(values.rewards[row].item<double>() == doctest::Approx(score).epsilon(1e-9));
  }
}

TEST_CASE("lean adjoints are carried back through the base model over every step of a trajectory") {
  PointScene scene;
  scene.keep_states();
  scene.policy->counters = {};
  const PointTensors values = scene.evaluate({.gradient = GradientKind::kLeanAdjoint, .want = {}, .on_stage = {}});
  // All ten steps of both trajectories, beside what the reverse loss asks for.
  CHECK(scene.policy->counters.backwards == 10 * kTrajectories + 2 * kRows);
  CHECK(values.decoded_rows == kTrajectories);
  PointOracle oracle(scene);
  for (std::int64_t trajectory = 0; trajectory < kTrajectories; ++trajectory) {
    const auto adjoints = oracle.lean_adjoints(trajectory);
    for (std::int64_t row = kRowsEach * trajectory; row < kRowsEach * (trajectory + 1); ++row) {
      const auto step = static_cast<std::size_t>(scene.points.steps[static_cast<std::size_t>(row)]);
      CHECK(relative_error(PointOracle::row_of(values.reward_grad_y, row), adjoints[step + 1]) < 1e-9);
      CHECK(relative_error(PointOracle::row_of(values.reward_grad_x, row), adjoints[step]) < 1e-9);
    }
  }
  scene.policy->load(some_lora(*scene.policy, 0.3, 500));
  CHECK(scene.evaluate({.gradient = GradientKind::kLeanAdjoint, .want = {}, .on_stage = {}}).reward_grad_y.equal(values.reward_grad_y));
}

TEST_CASE("with lean adjoints the reference's predictions cost no passes of their own") {
  PointScene scene;
  scene.keep_states();
  const PointTensors whole = scene.evaluate({.gradient = GradientKind::kLeanAdjoint, .want = {}, .on_stage = {}});
  scene.policy->counters = {};
  const PointTensors values = scene.evaluate({.gradient = GradientKind::kLeanAdjoint, .want = kForwardOnly, .on_stage = {}});
  CHECK(scene.policy->counters.forwards == 10 * kTrajectories);
  CHECK(scene.policy->counters.backwards == 10 * kTrajectories);
  CHECK(relative_error(values.eps_reference, whole.eps_reference) < 1e-12);
  CHECK(values.reward_grad_y.equal(whole.reward_grad_y));
}

TEST_CASE("lean adjoints are refused where states were not kept") {
  PointScene scene;
  check_error(
      ExitCode::kFailure, [&] { scene.evaluate({.gradient = GradientKind::kLeanAdjoint, .want = {}, .on_stage = {}}); }, "every state");
}

TEST_CASE("final latents are noised back to the last step, and the reward is that of the policy's mean from there") {
  PointScene scene;
  constexpr std::int64_t kSamples = 3;
  scene.points.trajectories.renoising = draw({kSamples * kTrajectories, 4, 8, 8}, 77).to(at::kDouble);
  const PointTensors values = scene.evaluate({.want = kForwardOnly, .on_stage = {}});
  REQUIRE(values.renoised_x.size(0) == kSamples * kTrajectories);
  const Transition& last = scene.table.transitions.back();
  const double alpha = last.alpha_bar / last.alpha_bar_next;
  PointOracle oracle(scene);
  for (std::int64_t trajectory = 0; trajectory < kTrajectories; ++trajectory) {
    const std::int64_t row = kRowsEach * trajectory + kRowsEach - 1;
    for (std::int64_t sample = 0; sample < kSamples; ++sample) {
      const Tensor noise = PointOracle::row_of(scene.points.trajectories.renoising, sample * kTrajectories + trajectory);
      const Tensor x = std::sqrt(alpha) * PointOracle::row_of(scene.points.y, row) + std::sqrt(1.0 - alpha) * noise;
      const Tensor ours = PointOracle::row_of(values.renoised_x, trajectory * kSamples + sample);
      CHECK(relative_error(ours, x) < 1e-12);
      const Tensor eps = oracle.prediction(WeightMode::kAdapter, row, x, scene.points.timestep.narrow(0, row, 1)).detach();
      const Tensor mean = last.x_coefficient * x - last.noise_coefficient * eps;
      const Tensor gradient = oracle.gradient_of_score(mean, row);
      CHECK(relative_error(PointOracle::row_of(values.renoised_reward_grad, trajectory * kSamples + sample), gradient) < 1e-9);
    }
  }
}

TEST_CASE("a rounded alpha-bar moves the clean prediction where the release's does, and nowhere else") {
  PointScene scene;
  const PointTensors exact = scene.evaluate({.want = {}, .on_stage = {}}),
                     rounded = scene.evaluate({.want = {}, .x0hat_bf16 = true, .on_stage = {}});
  CHECK(relative_error(rounded.reward_grad_x, exact.reward_grad_x) > 1e-4);
  CHECK(rounded.reverse_score_policy.equal(exact.reverse_score_policy));
  // bfloat16 has no number between 0.99609 and 1: at the last step the picture is that of x itself, so the network gets no gradient.
  scene.points.steps.assign(kRows, 9);
  scene.table.transitions[9].alpha_bar = 0.9985;
  const PointTensors clean = scene.evaluate({.want = {}, .x0hat_bf16 = true, .on_stage = {}});
  PointOracle oracle(scene);
  check_rows(
      "reward_grad_x", clean.reward_grad_x,
      [&](auto row) { return oracle.gradient_of_score(PointOracle::row_of(scene.points.x, row), row); }, 1e-9);
}

TEST_CASE("reward gradients agree with finite differences") {
  PointScene scene;
  const PointTensors values = scene.evaluate({});
  const at::NoGradGuard no_grad;
  PointOracle oracle(scene);
  constexpr double kStep = 1e-5;
  for (const std::int64_t row : {0, 2, 4}) {
    for (const std::int64_t element : {5, 100, 201}) {
      Tensor above = PointOracle::row_of(scene.points.y, row).clone(), below = above.clone();
      above.view(-1)[element] += kStep;
      below.view(-1)[element] -= kStep;
      const auto score = [&](const Tensor& y) { return oracle.score_at_y(WeightMode::kMerged, row, y).item<double>(); };
      const double slope = (score(above) - score(below)) / (2.0 * kStep);
      CHECK(values.reward_grad_y[row].flatten()[element].item<double>() == doctest::Approx(slope).epsilon(1e-5));
    }
  }
}

TEST_CASE("saturated pixels give no gradient") {
  PointScene scene;
  shift_picture(scene, 0, 1000.0);
  for (const GradientKind kind : kKinds) {
    MeanOfChannel red(0), blue(2);
    const auto evaluate = [&](RewardModel& reward) {
      return evaluate_points(*scene.policy, *scene.vae, reward, scene.table, scene.points, {.gradient = kind, .want = {}, .on_stage = {}});
    };
    const PointTensors saturated = evaluate(red), open = evaluate(blue);
    CHECK(saturated.rewards.equal(at::ones_like(saturated.rewards)));
    CHECK(saturated.reward_grad_y.count_nonzero().item<std::int64_t>() == 0);
    CHECK(saturated.reward_grad_x.count_nonzero().item<std::int64_t>() == 0);
    CHECK(open.reward_grad_y.count_nonzero().item<std::int64_t>() > 0);
  }
}

TEST_CASE("the policy's tensors follow its weights, the reference's do not") {
  PointScene scene;
  const PointOptions options{.gradient = GradientKind::kReferenceFl, .want = {.eps_behaviour = true}, .on_stage = {}};
  const PointTensors before = scene.evaluate(options);
  scene.policy->load(some_lora(*scene.policy, 0.3, 500));
  const PointTensors after = scene.evaluate(options);
  CHECK(after.eps_reference.equal(before.eps_reference));
  CHECK(after.reward_grad_y.equal(before.reward_grad_y));
  CHECK(after.reward_grad_x.equal(before.reward_grad_x));
  CHECK(after.reverse_score_reference.equal(before.reverse_score_reference));
  CHECK(relative_error(after.eps_behaviour, before.eps_behaviour) > 1e-2);
  CHECK(relative_error(after.reverse_score_policy, before.reverse_score_policy) > 1e-4);
}

TEST_CASE("a chunk's size does not change the values") {
  PointScene scene;
  for (const GradientKind kind : kKinds) {
    const PointTensors whole = scene.evaluate({.gradient = kind, .want = {.eps_behaviour = true}, .on_stage = {}});
    for (const std::int64_t rows : {1, 4}) {
      const PointTensors parts = scene.evaluate({.gradient = kind, .want = {.eps_behaviour = true}, .chunk_rows = rows, .on_stage = {}});
      for (std::size_t i = 0; i < all_of(whole).size(); ++i) CHECK(relative_error(all_of(parts)[i], all_of(whole)[i]) < 1e-10);
    }
  }
}

TEST_CASE("equal final latents of two prompts keep their own rewards") {
  PointScene scene;
  scene.points.terminal_latents = scene.points.terminal_latents.narrow(0, 0, 1).expand({kRows, -1, -1, -1}).contiguous();
  const PointTensors values = scene.evaluate({.gradient = GradientKind::kTerminal, .want = {}, .on_stage = {}});
  CHECK(values.rewards[0].equal(values.rewards[2]));
  CHECK_FALSE(values.rewards[0].equal(values.rewards[3]));
}

TEST_CASE("what the reverse loss alone needs is left out without it") {
  PointScene scene;
  const PointTensors values = scene.evaluate({.want = kForwardOnly, .on_stage = {}});
  CHECK(values.eps_reference.defined());
  CHECK(values.reward_grad_y.defined());
  CHECK_FALSE(values.eps_behaviour.defined());
  CHECK_FALSE(values.reward_grad_x.defined());
  CHECK_FALSE(values.reverse_score_reference.defined());
  CHECK_FALSE(values.reverse_score_policy.defined());
  const PointTensors whole = scene.evaluate({});
  CHECK(values.reward_grad_y.equal(whole.reward_grad_y));
  CHECK(relative_error(values.eps_reference, whole.eps_reference) < 1e-12);
}

TEST_CASE("rows through the networks are counted, and terminal rows need no U-Net at y") {
  PointScene scene;
  const std::int64_t open = kRows - kTrajectories;
  struct Case {
    GradientKind kind;
    bool reverse;
    std::int64_t forwards, backwards, decoded;
  };
  const Case cases[] = {
      {GradientKind::kPolicyFl, true, 2 * kRows + open, 3 * kRows + open, 2 * kRows},
      {GradientKind::kReferenceFl, true, 2 * kRows + open, 3 * kRows + open, 2 * kRows},
      {GradientKind::kTerminal, true, 2 * kRows, 2 * kRows, kTrajectories},
      {GradientKind::kPolicyFl, false, kRows + open, open, kRows},
      {GradientKind::kTerminal, false, kRows, 0, kTrajectories},
  };
  for (const Case& expected : cases) {
    INFO("gradient kind ", static_cast<int>(expected.kind), ", reverse ", expected.reverse);
    scene.policy->counters = {};
    const PointTensors values =
        scene.evaluate({.gradient = expected.kind, .want = expected.reverse ? PointWants() : kForwardOnly, .on_stage = {}});
    CHECK(scene.policy->counters.forwards == expected.forwards);
    CHECK(scene.policy->counters.backwards == expected.backwards);
    CHECK(values.decoded_rows == expected.decoded);
  }
}

TEST_CASE("stages are told of once a chunk, and may give the work up") {
  PointScene scene;
  std::vector<std::string> stages;
  PointOptions options{.want = {}, .chunk_rows = 4, .on_stage = [&](const std::string& stage) { stages.push_back(stage); }};
  scene.evaluate(options);
  CHECK(stages == std::vector<std::string>{"reference", "reward_gradient", "reference", "reward_gradient"});
  options.on_stage = [](const std::string&) { throw failure("given up"); };
  check_error(
      ExitCode::kFailure, [&] { scene.evaluate(options); }, "given up");
}

TEST_CASE("transitions without a density are refused") {
  PointScene scene;
  scene.table = make_step_table(scene.model.open().scheduler(), Sampler::kDdim, 10, 0.0);
  check_error(
      ExitCode::kUsage, [&] { scene.evaluate({}); }, "sigma = 0", "sampling.eta");
  scene.table.clip_sample = true;
  check_error(
      ExitCode::kUsage, [&] { scene.evaluate({}); }, "clip_sample");
}

TEST_CASE("a gradient kind has one of four names") {
  CHECK((gradient_kind_from_name("policy_fl") == GradientKind::kPolicyFl));
  CHECK((gradient_kind_from_name("reference_fl") == GradientKind::kReferenceFl));
  CHECK((gradient_kind_from_name("terminal") == GradientKind::kTerminal));
  CHECK((gradient_kind_from_name("lean_adjoint") == GradientKind::kLeanAdjoint));
  check_error(
      ExitCode::kUsage, [] { gradient_kind_from_name("lean"); }, "'lean'", "policy_fl, reference_fl, terminal or lean_adjoint");
}
