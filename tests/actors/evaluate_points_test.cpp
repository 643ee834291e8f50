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
  const PointTensors values = scene.evaluate({.gradient = kind, .reverse = true, .behaviour = true, .on_stage = {}});
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
      return evaluate_points(*scene.policy, *scene.vae, reward, scene.table, scene.points, {.gradient = kind, .on_stage = {}});
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
  const PointOptions options{.gradient = GradientKind::kReferenceFl, .behaviour = true, .on_stage = {}};
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
    const PointTensors whole = scene.evaluate({.gradient = kind, .behaviour = true, .on_stage = {}});
    for (const std::int64_t rows : {1, 4}) {
      const PointTensors parts = scene.evaluate({.gradient = kind, .behaviour = true, .chunk_rows = rows, .on_stage = {}});
      for (std::size_t i = 0; i < all_of(whole).size(); ++i) CHECK(relative_error(all_of(parts)[i], all_of(whole)[i]) < 1e-10);
    }
  }
}

TEST_CASE("equal final latents of two prompts keep their own rewards") {
  PointScene scene;
  scene.points.terminal_latents = scene.points.terminal_latents.narrow(0, 0, 1).expand({kRows, -1, -1, -1}).contiguous();
  const PointTensors values = scene.evaluate({.gradient = GradientKind::kTerminal, .on_stage = {}});
  CHECK(values.rewards[0].equal(values.rewards[2]));
  CHECK_FALSE(values.rewards[0].equal(values.rewards[3]));
}

TEST_CASE("what the reverse loss alone needs is left out without it") {
  PointScene scene;
  const PointTensors values = scene.evaluate({.reverse = false, .on_stage = {}});
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
    const PointTensors values = scene.evaluate({.gradient = expected.kind, .reverse = expected.reverse, .on_stage = {}});
    CHECK(scene.policy->counters.forwards == expected.forwards);
    CHECK(scene.policy->counters.backwards == expected.backwards);
    CHECK(values.decoded_rows == expected.decoded);
  }
}

TEST_CASE("stages are told of once a chunk, and may give the work up") {
  PointScene scene;
  std::vector<std::string> stages;
  PointOptions options{.chunk_rows = 4, .on_stage = [&](const std::string& stage) { stages.push_back(stage); }};
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

TEST_CASE("a gradient kind has one of three names") {
  CHECK((gradient_kind_from_name("policy_fl") == GradientKind::kPolicyFl));
  CHECK((gradient_kind_from_name("reference_fl") == GradientKind::kReferenceFl));
  CHECK((gradient_kind_from_name("terminal") == GradientKind::kTerminal));
  check_error(
      ExitCode::kUsage, [] { gradient_kind_from_name("lean_adjoint"); }, "lean_adjoint", "policy_fl, reference_fl or terminal");
}
