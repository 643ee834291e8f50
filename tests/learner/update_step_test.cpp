#include "learner/update_step.h"

#include "tests/bench/operation_counter.h"
#include "tests/common/error_check.h"
#include "tests/learner/loss_scene.h"
#include "tests/learner/tiny_model.h"

#include <cmath>
#include <limits>

using namespace nabla;
using namespace nabla::testing;

namespace {

const std::stop_token kNeverStop;

// Gradients as they are, so that those of different updates can be compared.
RunConfig unclipped(RunConfig config) {
  config.training.max_grad_norm = 1e30;
  return config;
}

struct Outcome {
  std::map<std::string, double> metrics;
  Tensor lora_gradient, flow_gradient;  // of the update, divided by its slots
  std::string digest;
};

Tensor flat_gradient(const std::vector<Tensor>& parameters) {
  std::vector<Tensor> parts;
  for (const auto& parameter : parameters) parts.push_back(parameter.grad().flatten().to(at::kDouble));
  return at::cat(parts);
}

// One update of a fresh model on these slots.
Outcome train_fresh(const RunConfig& config, const std::vector<std::int64_t>& slots) {
  TinyLearner learner(config);
  UpdateStep step(config, learner.model);
  Outcome outcome;
  outcome.metrics = step.train(learner.update_of(slots), kNeverStop).value();
  outcome.lora_gradient = flat_gradient(learner.model.policy->lora().parameters());
  if (learner.model.flow) outcome.flow_gradient = flat_gradient(learner.model.flow->parameters());
  outcome.digest = learner.model.policy->digest();
  return outcome;
}

std::string flow_digest(const TinyLearner& learner) { return digest_of(named_tensors(*learner.model.flow)); }

}  // namespace

TEST_CASE("micro-steps add up to one large one") {
  const TinyModelFolder folder;
  RunConfig small = unclipped(tiny_config(folder)), large = small;
  small.training.batch_size = 1;
  small.training.gradient_accumulation_steps = 4;
  large.training.batch_size = 4;
  large.training.gradient_accumulation_steps = 1;
  const Outcome a = train_fresh(small, {0, 1, 2, 3}), b = train_fresh(large, {0, 1, 2, 3});
  // float32 sums in another order.
  CHECK(relative_difference(a.lora_gradient, b.lora_gradient) < 1e-5);
  CHECK(relative_difference(a.flow_gradient, b.flow_gradient) < 1e-5);
  for (const auto& [name, value] : a.metrics) {
    INFO(name);
    CHECK(value == doctest::Approx(b.metrics.at(name)).epsilon(1e-5));
  }
}

TEST_CASE("an update repeats bit by bit") {
  const TinyModelFolder folder;
  const auto train = [&] {
    TinyLearner learner(tiny_config(folder));
    UpdateStep step(learner.config, learner.model);
    for (int i = 0; i < 3; ++i) step.train(learner.update_of({0, 1, 2, 3}), kNeverStop);
    return std::pair(learner.model.policy->digest(), flow_digest(learner));
  };
  const auto first = train();
  CHECK(train() == first);
  CHECK(TinyLearner(tiny_config(folder)).model.policy->digest() != first.first);
}

TEST_CASE("a row costs one forward and one backward of the U-Net, and two forwards of the flow network") {
  const TinyModelFolder folder;
  TinyLearner learner(tiny_config(folder));
  UpdateStep step(learner.config, learner.model);
  step.train(learner.update_of({0, 1, 2, 3}), kNeverStop);
  const std::int64_t rows = 4 * learner.plan.rows();
  const auto counters = step.counters();
  CHECK(counters.at("learner_unet_forwards") == rows);
  CHECK(counters.at("learner_unet_backwards") == rows);
  CHECK(counters.at("learner_flow_forwards") == 2 * rows);
  CHECK(counters.at("learner_flow_backwards") == rows + 4);
}

TEST_CASE("no operator runs the U-Net more often than the counters say") {
  const TinyModelFolder folder;
  const auto check = [&](const RunConfig& config, std::int64_t backwards_a_row) {
    TinyLearner learner(config);
    UpdateStep step(learner.config, learner.model);
    OperationCounter operators;
    operators.watch("unet", named_tensors(learner.model.policy->unet()).at("conv_out.weight"));
    operators.watch("flow", named_tensors(*learner.model.flow).at("conv_out.weight"));
    step.train(learner.update_of({0, 1, 2, 3}), kNeverStop);
    const auto counters = step.counters();
    const std::int64_t rows = 4 * learner.plan.rows();
    // A guided row is two rows of the network: with and without the prompt.
    const OperationCounter::Rows unet = operators.rows().at("unet"), flow = operators.rows().at("flow");
    CHECK(unet.forward == 2 * rows);
    CHECK(unet.backward == 2 * rows * backwards_a_row);
    CHECK(counters.at("learner_unet_forwards") == rows);
    CHECK(counters.at("learner_unet_backwards") == rows * backwards_a_row);
    CHECK(counters.at("learner_flow_forwards") == flow.forward);
    CHECK(counters.at("learner_flow_backwards") == flow.backward);
  };
  RunConfig config = tiny_config(folder);
  check(config, 1);
  config.compat.flow_from_forward_loss = true;
  check(config, 1);
}

TEST_CASE("discarded slots are divided by no longer") {
  const TinyModelFolder folder;
  const RunConfig config = unclipped(tiny_config(folder));
  const Outcome all = train_fresh(config, {0, 1, 3});
  Tensor lora, flow;
  double loss = 0;
  for (const std::int64_t slot : {0, 1, 3}) {
    const Outcome one = train_fresh(config, {slot});
    lora = lora.defined() ? lora + one.lora_gradient / 3.0 : one.lora_gradient / 3.0;
    flow = flow.defined() ? flow + one.flow_gradient / 3.0 : one.flow_gradient / 3.0;
    loss += one.metrics.at("loss") / 3.0;
  }
  CHECK(relative_difference(all.lora_gradient, lora) < 1e-5);
  CHECK(relative_difference(all.flow_gradient, flow) < 1e-5);
  CHECK(all.metrics.at("loss") == doctest::Approx(loss).epsilon(1e-5));
  CHECK(all.metrics.at("reward_mean") == doctest::Approx((0.0 + 0.5 + 1.5) / 3));
}

TEST_CASE("an update without a slot is refused by number") {
  const TinyModelFolder folder;
  TinyLearner learner(tiny_config(folder));
  UpdateStep step(learner.config, learner.model);
  check_error(
      ExitCode::kFailure, [&] { step.train({.update = 5, .records = {}}, kNeverStop); }, "update 5");
}

TEST_CASE("gradients are clipped, LoRA and flow each") {
  const TinyModelFolder folder;
  RunConfig config = tiny_config(folder);
  config.training.max_grad_norm = 0.25;
  const Outcome outcome = train_fresh(config, {0, 1, 2, 3}), free = train_fresh(unclipped(config), {0, 1, 2, 3});
  CHECK(outcome.metrics.at("grad_norm") == doctest::Approx(free.lora_gradient.norm().item<double>()).epsilon(1e-6));
  CHECK(outcome.metrics.at("grad_norm_flow") == doctest::Approx(free.flow_gradient.norm().item<double>()).epsilon(1e-6));
  CHECK(outcome.lora_gradient.norm().item<double>() == doctest::Approx(0.25).epsilon(1e-4));
  CHECK(outcome.flow_gradient.norm().item<double>() == doctest::Approx(0.25).epsilon(1e-4));
}

TEST_CASE("values that are not finite end the run with exit code 6 and leave the weights") {
  const TinyModelFolder folder;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e30F}) {
    TinyLearner learner(tiny_config(folder));
    UpdateStep step(learner.config, learner.model);
    const std::string lora = learner.model.policy->digest(), flow = flow_digest(learner);
    UpdateRecords update = learner.update_of({0, 1, 2});
    update.update = 4;
    update.records.push_back(learner.record(3, {{"reward_grad_y", at::full({3, 4, 4, 4}, bad)}}));
    check_error(
        ExitCode::kNonFinite, [&] { step.train(update, kNeverStop); }, "update 4", "slots 2, 3", "training.lr");
    CHECK(learner.model.policy->digest() == lora);
    CHECK(flow_digest(learner) == flow);
  }
}

TEST_CASE("a learning rate of zero leaves the weights") {
  const TinyModelFolder folder;
  RunConfig config = tiny_config(folder);
  config.training.lr = config.training.flow_lr = 0.0;
  TinyLearner learner(config);
  UpdateStep step(config, learner.model);
  const std::string lora = learner.model.policy->digest(), flow = flow_digest(learner);
  CHECK(step.train(learner.update_of({0, 1, 2, 3}), kNeverStop).value().at("grad_norm") > 0.0);
  CHECK(learner.model.policy->digest() == lora);
  CHECK(flow_digest(learner) == flow);
}

TEST_CASE("without reward and flow version 0 is a fixed point: the gradient is exactly zero") {
  const TinyModelFolder folder;
  RunConfig config = tiny_config(folder);
  config.model.reward_scale = 0.0;
  config.model.no_flow = true;
  config.model.reverse_loss_scale = 0.0;
  config.training.adam_weight_decay = 0.0;
  TinyLearner learner(config);
  PromptEncoder prompts(learner.model.text_encoder);
  UpdateRecords update = learner.update_of({0, 1});
  const MicroBatch micro = collate(update.records, learner.model.table, {record_needs_of(config), {}}, prompts, learner.model.empty_prompt);
  const Tensor eps = [&] {
    const at::NoGradGuard no_grad;
    return learner.model.policy->predict(WeightMode::kBase, micro.transitions.x, micro.transitions.timestep, micro.conditioning);
  }();
  for (std::int64_t slot = 0; slot < 2; ++slot) {
    const Tensor own = eps.narrow(0, 3 * slot, 3);
    update.records[static_cast<std::size_t>(slot)] = learner.record(slot, {{"eps_reference", own}, {"eps_behaviour", own}});
  }
  UpdateStep step(config, learner.model);
  const std::string before = learner.model.policy->digest();
  const auto metrics = step.train(update, kNeverStop).value();
  CHECK(metrics.at("grad_norm") == 0.0);
  CHECK(metrics.at("loss") == 0.0);
  CHECK(learner.model.policy->digest() == before);
}

TEST_CASE("reward_sign -1 turns the reward around") {
  const TinyModelFolder folder;
  RunConfig config = tiny_config(folder);
  config.model.reward_scale = 3.0;
  CHECK(objective_of(config).reward_scale == 3.0);
  config.experiment.reward_sign = -1;
  CHECK(objective_of(config).reward_scale == -3.0);
}

TEST_CASE("gamma belongs to the forward-looking gradients alone") {
  RunConfig config;
  for (const auto& [kind, uses_gamma] : {std::pair{"policy_fl", true}, {"reference_fl", true}, {"terminal", false}}) {
    config.model.gradient = kind;
    CHECK(objective_of(config).gradient_uses_gamma == uses_gamma);
  }
}

TEST_CASE("letting the forward loss train the flow network changes its gradient and not the policy's") {
  const TinyModelFolder folder;
  RunConfig config = unclipped(tiny_config(folder));
  const Outcome detached = train_fresh(config, {0, 1, 2, 3});
  config.compat.flow_from_forward_loss = true;
  const Outcome released = train_fresh(config, {0, 1, 2, 3});
  CHECK(relative_difference(released.lora_gradient, detached.lora_gradient) < 1e-6);
  CHECK(relative_difference(released.flow_gradient, detached.flow_gradient) > 1e-2);
}

TEST_CASE("an update that is stopped changes nothing") {
  const TinyModelFolder folder;
  TinyLearner learner(tiny_config(folder));
  UpdateStep step(learner.config, learner.model);
  const std::string before = learner.model.policy->digest();
  std::stop_source stop;
  stop.request_stop();
  CHECK_FALSE(step.train(learner.update_of({0, 1, 2, 3}), stop.get_token()));
  CHECK(learner.model.policy->digest() == before);
  CHECK(step.train(learner.update_of({0, 1, 2, 3}), kNeverStop));
  CHECK(learner.model.policy->digest() == train_fresh(tiny_config(folder), {0, 1, 2, 3}).digest);
}

TEST_CASE("lag and rewards of the records are among the metrics") {
  const TinyModelFolder folder;
  TinyLearner learner(tiny_config(folder));
  UpdateStep step(learner.config, learner.model);
  UpdateRecords update = learner.update_of({0, 1, 2, 3});
  update.update = 2;
  const auto metrics = step.train(update, kNeverStop).value();
  CHECK(metrics.at("policy_lag/mean") == 2.0);
  CHECK(metrics.at("policy_lag/max") == 2.0);
  CHECK(metrics.at("reward_mean") == doctest::Approx(0.75));
  CHECK(metrics.at("reward_std") == doctest::Approx(std::sqrt(0.3125)));
}

TEST_CASE("the learning rate of an update follows the schedule, and its first one under a warm-up moves nothing") {
  const TinyModelFolder folder;
  RunConfig config = tiny_config(folder);
  config.training.lr_scheduler = "linear";
  config.training.lr_warmup_steps = 2;
  config.training.updates = 4;
  TinyLearner learner(config);
  UpdateStep step(config, learner.model);
  UpdateRecords update = learner.update_of({0, 1, 2, 3});
  const std::string start = learner.model.policy->digest(), flow_start = flow_digest(learner);
  std::vector<double> rates;
  for (; update.update < 4; ++update.update) {
    rates.push_back(step.train(update, kNeverStop).value().at("lr"));
    CHECK((learner.model.policy->digest() == start) == (update.update == 0));
    CHECK((flow_digest(learner) == flow_start) == (update.update == 0));
  }
  CHECK(rates == std::vector<double>{0.0, 0.5 * config.training.lr, config.training.lr, 0.5 * config.training.lr});
}

TEST_CASE("Lion moves every weight of both networks by its learning rate") {
  const TinyModelFolder folder;
  RunConfig config = tiny_config(folder);
  config.training.optimizer = "lion";
  config.training.adam_weight_decay = config.training.flow_wd = 0.0;
  TinyLearner learner(config);
  UpdateStep step(config, learner.model);
  const TensorMap before = step.state();
  REQUIRE(step.train(learner.update_of({0, 1, 2, 3}), kNeverStop));
  const TensorMap after = step.state();
  const std::map<std::string, double> rates{{"lora.", config.training.lr}, {"flow.", config.training.flow_lr}};
  for (const auto& [name, rate] : rates) {
    double largest = 0;
    for (const auto& [key, value] : after) {
      if (key.starts_with(name)) largest = std::max(largest, (value - before.at(key)).abs().max().item<double>());
    }
    CHECK(largest == doctest::Approx(rate).epsilon(1e-3));  // float32
  }
}
