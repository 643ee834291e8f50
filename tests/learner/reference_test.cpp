#include "learner/reference.h"

#include "learner/update_step.h"
#include "tests/learner/tiny_model.h"
#include "tests/testing.h"

using namespace nabla;
using namespace nabla::testing;

namespace {

RunConfig rounded_config(const TinyModelFolder& folder) {
  RunConfig config = tiny_config(folder);
  config.training.mixed_precision = "bf16";
  return config;
}

// A micro-batch of the learner's own making, whose attached references are its own predictions in another batch, and off by `noise` of the reward's score.
struct Scene {
  Scene(const RunConfig& config, double noise) : learner(config), objective(objective_of(config)) {
    const UpdateRecords update = learner.update_of({0, 1});
    PromptEncoder prompts(learner.model.text_encoder);
    MicroBatch micro = collate(update.records, learner.model.table, {record_needs_of(config), {}}, prompts, learner.model.empty_prompt);
    batch = micro.transitions;
    conditioning = micro.conditioning;
    own = predict_own();
    const Tensor off = at::randn_like(own) * (noise / batch.weight.view({-1, 1, 1, 1}));
    batch.eps_reference = own + off * reward_size();
  }
  Tensor predict_own() {
    const at::NoGradGuard no_grad;
    return learner.model.policy->predict(WeightMode::kBase, batch.x, batch.timestep, conditioning);
  }
  double reward_size() const {
    const Tensor gamma = batch.alpha_bar_next.masked_fill(batch.is_terminal, 1.0).view({-1, 1, 1, 1});
    return (objective.reward_scale * gamma * batch.reward_grad_y).square().mean().sqrt().item<double>();
  }

  TinyLearner learner;
  ObjectiveConfig objective;
  TransitionBatch batch;
  Conditioning conditioning;
  Tensor own;
};

}  // namespace

TEST_CASE("float32 references are taken as they come") {
  const TinyModelFolder folder;
  const RunConfig config = tiny_config(folder);
  Scene scene(config, 1.0);
  const Tensor attached = scene.batch.eps_reference;
  ReferencePrediction reference(config, scene.objective, *scene.learner.model.policy);
  reference.settle(scene.batch, scene.conditioning);
  CHECK(scene.batch.eps_reference.is_same(attached));
  CHECK_FALSE(reference.noise());
}

TEST_CASE("paired references are the learner's own") {
  const TinyModelFolder folder;
  RunConfig config = tiny_config(folder);
  config.learner.reference = "paired";
  Scene scene(config, 1.0);
  ReferencePrediction reference(config, scene.objective, *scene.learner.model.policy);
  reference.settle(scene.batch, scene.conditioning);
  CHECK(scene.batch.eps_reference.equal(scene.own));
}

TEST_CASE("attached references of bfloat16 networks stay while their noise is under 5% of the reward's score") {
  const TinyModelFolder folder;
  const RunConfig config = rounded_config(folder);
  at::manual_seed(1);
  for (const double noise : {0.03, 0.08}) {
    Scene scene(config, noise);
    const Tensor attached = scene.batch.eps_reference;
    ReferencePrediction reference(config, scene.objective, *scene.learner.model.policy);
    reference.settle(scene.batch, scene.conditioning);
    REQUIRE(reference.noise());
    CHECK(*reference.noise() == doctest::Approx(noise).epsilon(0.2));
    CHECK(reference.paired() == (noise > 0.05));
    CHECK(scene.batch.eps_reference.equal(noise > 0.05 ? scene.own : attached));
  }
}

TEST_CASE("what was measured goes on with the run") {
  const TinyModelFolder folder;
  const RunConfig config = rounded_config(folder);
  at::manual_seed(1);
  for (const double noise : {0.03, 0.08}) {
    Scene scene(config, noise);
    ReferencePrediction before(config, scene.objective, *scene.learner.model.policy), after(before);
    const TensorMap fresh = before.state();
    before.settle(scene.batch, scene.conditioning);
    after.load(fresh);
    CHECK_FALSE(after.noise());
    after.load(before.state());
    CHECK(after.noise() == before.noise());
    CHECK(after.paired() == before.paired());
  }
}

TEST_CASE("several ranks take their own bfloat16 references at once: each would measure another batch") {
  const TinyModelFolder folder;
  RunConfig config = rounded_config(folder);
  config.learner.ranks = 2;
  Scene scene(config, 0.01);
  ReferencePrediction reference(config, scene.objective, *scene.learner.model.policy);
  CHECK(reference.state().empty());
  reference.settle(scene.batch, scene.conditioning);
  CHECK(scene.batch.eps_reference.equal(scene.own));
}

TEST_CASE("before the first step paired bfloat16 predictions differ by nothing, whatever they round to") {
  const TinyModelFolder folder;
  RunConfig config = rounded_config(folder);
  config.learner.reference = "paired";
  Scene scene(config, 0.0);
  const at::NoGradGuard no_grad;
  const Tensor policy = scene.learner.model.policy->predict(WeightMode::kAdapter, scene.batch.x, scene.batch.timestep, scene.conditioning);
  CHECK(policy.equal(scene.own));
}

TEST_CASE("an update of bfloat16 networks moves float32 weights about as the float32 one does") {
  const TinyModelFolder folder;
  const auto gradient = [&](const RunConfig& config) {
    TinyLearner learner(config);
    UpdateStep step(learner.config, learner.model);
    REQUIRE(step.train(learner.update_of({0, 1, 2, 3}), {}));
    std::vector<Tensor> parts;
    for (const auto& parameter : learner.model.policy->lora().parameters()) {
      CHECK((parameter.scalar_type() == at::kFloat));
      parts.push_back(parameter.grad().flatten().to(at::kDouble));
    }
    return at::cat(parts);
  };
  RunConfig exact = tiny_config(folder), rounded = rounded_config(folder);
  // The records' references are random, so both take their own.
  exact.learner.reference = rounded.learner.reference = "paired";
  const Tensor expected = gradient(exact);
  CHECK(((gradient(rounded) - expected).norm() / expected.norm()).item<double>() < 0.2);
}
