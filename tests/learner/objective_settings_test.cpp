#include "learner/update_step.h"

#include "learner/losses/rows.h"
#include "learner/transition_choice.h"
#include "tests/common/error_check.h"
#include "tests/learner/tiny_model.h"

#include <cmath>
#include <functional>

using namespace nabla;
using namespace nabla::testing;

// What the settings of the objective change in an update.

namespace {

const std::stop_token kNoStop;

RunConfig with(const TinyModelFolder& folder, const std::function<void(RunConfig&)>& change) {
  RunConfig config = tiny_config(folder);
  config.training.max_grad_norm = 1e30;
  change(config);
  return config;
}

// Records whose transitions the untrained policy made: ratios of densities mean something for these alone.
UpdateRecords sampled_at_the_start(TinyLearner& learner, const std::vector<std::int64_t>& slots) {
  const at::NoGradGuard no_grad;
  UpdateRecords update = learner.update_of(slots);
  PromptEncoder prompts(learner.model.text_encoder);
  for (auto& record : update.records) {
    const std::vector<SharedRecord> own{record};
    const MicroBatch micro =
        collate(own, learner.model.table, {record_needs_of(learner.config), {}}, prompts, learner.model.empty_prompt);
    const TransitionBatch& batch = micro.transitions;
    const Tensor eps = learner.model.policy->predict(WeightMode::kAdapter, batch.x, batch.timestep, micro.conditioning);
    const Tensor mean = per_row(batch.kernel.x_coefficient) * batch.x - per_row(batch.kernel.noise_coefficient) * eps;
    record = learner.record(record->header.slot, {{"eps_behaviour", eps}, {"y", mean + per_row(batch.kernel.variance.sqrt()) * batch.y}});
  }
  return update;
}

struct Trained {
  std::map<std::string, double> metrics;
  std::string digest;
};

Trained train(const RunConfig& config, int updates = 1) {
  TinyLearner learner(config);
  UpdateStep step(config, learner.model);
  const std::vector<std::int64_t> slots{0, 1, 2, 3};
  const UpdateRecords update = config.experiment.method == "DDPO" ? sampled_at_the_start(learner, slots) : learner.update_of(slots);
  Trained trained;
  for (int i = 0; i < updates; ++i) trained.metrics = step.train(update, kNoStop).value();
  trained.digest = learner.model.policy->digest();
  return trained;
}

void baseline(RunConfig& config, const std::string& method) {
  config.experiment.method = method;
  config.model.no_flow = true;
  config.model.reverse_loss_scale = 0.0;
  if (method == "Adjoint-Matching") config.model.gradient = "lean_adjoint";
}

double row_norm(const Tensor& rows, std::int64_t row) { return rows[row].norm().item<double>(); }

}  // namespace

TEST_CASE("every method trains on its own records, and only those with a flow network have one") {
  const TinyModelFolder folder;
  for (const std::string method : {"ReFL", "DRaFT-1", "DRaFT-LV", "DDPO", "Adjoint-Matching"}) {
    INFO(method);
    const RunConfig config = with(folder, [&](RunConfig& c) { baseline(c, method); });
    CHECK(TinyLearner(config).model.flow == nullptr);
    const Trained trained = train(config);
    CHECK(std::isfinite(trained.metrics.at("loss")));
    CHECK(trained.metrics.at("grad_norm") > 0.0);
    CHECK_FALSE(trained.metrics.contains("grad_norm_flow"));
  }
  const RunConfig plain = with(folder, [](RunConfig& c) { c.experiment.method = "Plain-Nabla-DB"; });
  CHECK(TinyLearner(plain).model.flow != nullptr);
  CHECK(train(plain).metrics.at("grad_norm_flow") > 0.0);
}

TEST_CASE("methods that train one step draw it, and the rows of a record say so") {
  const TinyModelFolder folder;
  const auto rows = [&](const std::string& method) {
    return TinyLearner(with(folder, [&](RunConfig& c) { baseline(c, method); })).plan.order_of(2).transitions;
  };
  CHECK(rows("DRaFT-1") == std::vector<std::int32_t>{4});
  CHECK(rows("DRaFT-LV") == std::vector<std::int32_t>{4});
  CHECK(rows("ReFL") == std::vector<std::int32_t>{3});
  CHECK(rows("DDPO").size() == 3);
}

TEST_CASE("each reverse target trains on the tensors that it needs") {
  const TinyModelFolder folder;
  std::vector<std::string> digests;
  for (const char* target : {"official", "rao_blackwell", "true_gradient"}) {
    const RunConfig config = with(folder, [&](RunConfig& c) { c.model.reverse_target = target; });
    const Trained trained = train(config, 2);
    CHECK(trained.metrics.at("losses_backward") > 0.0);
    digests.push_back(trained.digest);
  }
  // The official and the Rao-Blackwell target train the flow network alone, which the policy sees in its second update's forward loss.
  CHECK(digests[0] != digests[1]);
  CHECK(digests[0] != digests[2]);
}

TEST_CASE("two optimiser steps a gradient go further than one") {
  const TinyModelFolder folder;
  const RunConfig one = with(folder, [](RunConfig&) {}), two = with(folder, [](RunConfig&c) { c.compat.adam_steps_per_grad = 2; });
  TinyLearner learner(one), other(two), start(one);
  UpdateStep(one, learner.model).train(learner.update_of({0, 1}), kNoStop);
  UpdateStep(two, other.model).train(other.update_of({0, 1}), kNoStop);
  const auto moved = [&](const TinyLearner& trained) {
    double squares = 0.0;
    for (const auto& [name, tensor] : trained.model.policy->lora().tensors())
      squares += (tensor - start.model.policy->lora().tensors().at(name)).square().sum().item<double>();
    return std::sqrt(squares);
  };
  CHECK(moved(other) / moved(learner) == doctest::Approx(2.0).epsilon(0.03));  // Adam's first steps have the size of the learning rate
}

TEST_CASE("the previous weights are an anchor from the second update on") {
  const TinyModelFolder folder;
  const RunConfig config = with(folder, [](RunConfig& c) { c.model.unet_reg_anchor = "previous"; });
  TinyLearner learner(config);
  UpdateStep step(config, learner.model);
  const UpdateRecords update = learner.update_of({0, 1});
  CHECK(step.train(update, kNoStop).value().at("unetreg") < 1e-12);
  CHECK(step.train(update, kNoStop).value().at("unetreg") > 1e-10);
  // It holds the weights before the last step, so the newest ones differ from it.
  CHECK(digest_of(step.anchor()->values()) != learner.model.policy->digest());
}

TEST_CASE("the averaged weights move by their decay, and an anchor leaves the policy's weights as they are") {
  const TinyModelFolder folder;
  const RunConfig config = with(folder, [](RunConfig& c) {
    c.model.unet_reg_anchor = "ema";
    c.model.unet_reg_ema_decay = 0.75;
  });
  TinyLearner learner(config);
  UpdateStep step(config, learner.model);
  const TensorMap start = step.anchor()->values();
  step.train(learner.update_of({0, 1}), kNoStop);
  for (const auto& [name, value] : step.anchor()->values()) {
    const Tensor expected = 0.75 * start.at(name) + 0.25 * learner.model.policy->lora().tensors().at(name);
    CHECK((value - expected).abs().max().item<double>() < 1e-6);
  }
  RegularizerAnchor anchor(*learner.model.policy, RegularizerAnchor::Kind::kEma, 0.9);
  const std::string before = learner.model.policy->digest();
  for (auto& parameter : learner.model.policy->lora().parameters()) {
    const at::NoGradGuard no_grad;
    parameter.add_(0.1);
  }
  const std::string moved = learner.model.policy->digest();
  const Tensor x = normal_tensor({1, 4, 4, 4}, Philox(1, RandomPurpose::kEvaluationNoise, 1)), time = torch::tensor({401}, at::kLong);
  const Conditioning conditioning{normal_tensor({1, 16, 8}, Philox(1, RandomPurpose::kEvaluationNoise, 2)),
                                  normal_tensor({1, 16, 8}, Philox(1, RandomPurpose::kEvaluationNoise, 3))};
  const Tensor held = anchor.predict(x, time, conditioning);
  CHECK(learner.model.policy->digest() == moved);
  CHECK(before != moved);
  const at::NoGradGuard no_grad;
  CHECK_FALSE(held.equal(learner.model.policy->predict(WeightMode::kAdapter, x, time, conditioning)));
  CHECK_FALSE(held.requires_grad());
}

TEST_CASE("with uniform weights a slot's rows count by the inverse of their chance, and add up to one") {
  const TinyModelFolder folder;
  const RunConfig config = with(folder, [](RunConfig& c) { c.model.terminal_weighting = "uniform"; });
  TinyLearner learner(config);
  PromptEncoder prompts(learner.model.text_encoder);
  const CollateOptions options{record_needs_of(config), inclusion_probabilities(transition_choice_of(config))};
  const std::vector<SharedRecord> records{learner.record(0), learner.record(1)};
  const TransitionBatch batch = collate(records, learner.model.table, options, prompts, learner.model.empty_prompt).transitions;
  // Four steps in bins of two and two, and the terminal one: 2/5, 2/5 and 1/5.
  for (std::int64_t slot = 0; slot < 2; ++slot) {
    for (const auto& [row, weight] : {std::pair{0, 0.4}, {1, 0.4}, {2, 0.2}})
      CHECK(batch.slot_weight[3 * slot + row].item<double>() == doctest::Approx(weight));
  }
  CHECK(batch.slot_terminal_weight.allclose(at::full({6}, 1.0 / 3)));
  CHECK(train(config).digest != train(with(folder, [](RunConfig&) {})).digest);
}

TEST_CASE("reward gradients above the update's percentile are scaled down to it, the others stay") {
  const TinyModelFolder folder;
  const RunConfig config = with(folder, [](RunConfig& c) { c.model.reward_grad_clip_percentile = 50; });
  TinyLearner learner(config);
  const UpdateRecords update = learner.update_of({0, 1, 2, 3});
  PromptEncoder prompts(learner.model.text_encoder);
  const auto batch_with = [&](const std::map<std::string, double>& limits) {
    return collate(update.records, learner.model.table, {record_needs_of(config), {}}, prompts, learner.model.empty_prompt, limits)
        .transitions;
  };
  const UpdateStatistics statistics = statistics_of(facts_of(update, record_needs_of(config), GradientNorms::kAll), 50);
  const TransitionBatch raw = batch_with({}), clipped = batch_with(statistics.norm_limits);
  std::vector<double> norms;
  for (std::int64_t row = 0; row < 12; ++row) norms.push_back(row_norm(raw.reward_grad_y, row));
  const double limit = percentile(norms, 50);
  CHECK(statistics.norm_limits.at("reward_grad_y") == doctest::Approx(limit));
  int above = 0;
  for (std::int64_t row = 0; row < 12; ++row) {
    const double norm = row_norm(raw.reward_grad_y, row);
    above += norm > limit ? 1 : 0;
    CHECK(row_norm(clipped.reward_grad_y, row) == doctest::Approx(std::min(norm, limit)).epsilon(1e-5));
    const Tensor direction = raw.reward_grad_y[row] / norm, kept = clipped.reward_grad_y[row] / row_norm(clipped.reward_grad_y, row);
    CHECK((direction - kept).norm().item<double>() < 1e-5);
  }
  CHECK(above == 6);
  CHECK(clipped.reverse_score_policy.equal(raw.reverse_score_policy));
}

TEST_CASE("micro-batches do not change percentiles and advantages") {
  const TinyModelFolder folder;
  for (const std::string method : {"Nabla-DB", "DDPO"}) {
    const auto gradient_norm = [&](std::int64_t batch_size) {
      return train(with(folder,
                        [&](RunConfig& c) {
                          if (method == "DDPO") baseline(c, method);
                          if (method == "Nabla-DB") c.model.reward_grad_clip_percentile = 60;
                          c.training.batch_size = batch_size;
                          c.training.gradient_accumulation_steps = 4 / batch_size;
                        }))
          .metrics.at("grad_norm");
    };
    CHECK(gradient_norm(1) == doctest::Approx(gradient_norm(4)).epsilon(1e-5));
  }
}

TEST_CASE("percentiles are interpolated as numpy does") {
  CHECK(percentile({3.0, 1.0, 2.0, 10.0}, 80) == doctest::Approx(5.8));
  CHECK(percentile({3.0, 1.0, 2.0}, 100) == 3.0);
  CHECK(percentile({7.0}, 20) == 7.0);
}

TEST_CASE("an advantage is the reward among those of its prompt, a lone one among all") {
  const TinyModelFolder folder;
  TinyLearner learner(with(folder, [](RunConfig&) {}));
  UpdateRecords update = learner.update_of({0, 1, 2});
  const auto set = [&](std::size_t i, const std::string& prompt, double reward) {
    auto record = std::make_shared<TrajectoryRecord>(*update.records[i]);
    record->header.prompt = prompt;
    record->header.reward = reward;
    update.records[i] = record;
  };
  set(0, "a", 1.0);
  set(1, "a", 3.0);
  set(2, "b", 5.0);
  const auto advantages = statistics_of(facts_of(update, record_needs_of(learner.config), GradientNorms::kNone), 0).advantages;
  CHECK(advantages[0] == doctest::Approx(-1.0).epsilon(1e-5));
  CHECK(advantages[1] == doctest::Approx(1.0).epsilon(1e-5));
  CHECK(advantages[2] == doctest::Approx(2.0 / std::sqrt(8.0 / 3.0)).epsilon(1e-5));
}

TEST_CASE("settings that the objective cannot have are refused with the way out") {
  const TinyModelFolder folder;
  const auto refuse = [&](const std::function<void(RunConfig&)>& change, const std::string& part) {
    check_error(
        ExitCode::kUsage, [&] { objective_of(with(folder, change)); }, part);
  };
  refuse([](RunConfig& c) { c.experiment.method = "GRPO"; }, "GRPO");
  refuse(
      [](RunConfig& c) {
        c.experiment.method = "Plain-Nabla-DB";
        c.sampling.eta = 0.5;
      },
      "sampling.eta 1");
  refuse(
      [](RunConfig& c) {
        c.experiment.method = "Plain-Nabla-DB";
        c.model.no_flow = true;
      },
      "no_flow=false");
  refuse(
      [](RunConfig& c) {
        c.compat.reverse_terminal_target = "zero";
        c.model.reverse_target = "rao_blackwell";
      },
      "official");
}

TEST_CASE("the official switches reach the objective") {
  const TinyModelFolder folder;
  const ObjectiveConfig objective = objective_of(with(folder, [](RunConfig& c) {
    c.compat.flow_from_forward_loss = true;
    c.compat.reverse_terminal_target = "zero";
    c.compat.terminal_gamma = "alpha_bar";
    c.model.pretrained_strength = 0.5;
    c.model.pretrained_strength_mode = "official";
    c.model.time_weighting = "sigma";
    c.model.ddpo_clip_range = 0.2;
  }));
  CHECK(objective.flow_from_forward_loss);
  CHECK(objective.zero_terminal_reverse_target);
  CHECK(objective.terminal_gamma);
  CHECK(objective.pretrained_strength == 0.5);
  CHECK((objective.strength_mode == StrengthMode::kOfficial));
  CHECK((objective.time_weighting == TimeWeighting::kSigma));
  CHECK(objective.ddpo_clip_range == 0.2);
}
