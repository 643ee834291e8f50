// The ranks of a group against one rank that does all their work.
#include "common/config/record_needs.h"
#include "learner/slot_facts.h"
#include "learner/update_statistics.h"
#include "learner/update_step.h"
#include "tests/common/error_check.h"
#include "tests/group/group_in_threads.h"
#include "tests/learner/tiny_model.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace nabla;
using namespace nabla::testing;

namespace {

const std::stop_token kNeverStop;
constexpr std::int64_t kSlots = 4;

struct RankResult {
  std::vector<std::map<std::string, double>> metrics;  // by update
  std::string weights, flow, error;
  std::vector<std::int64_t> non_finite;  // slots of the batch that is to be kept
  int code = 0;
};

using Change = std::function<void(RunConfig&)>;

RunConfig changed(const TinyModelFolder& folder, const Change& change) {
  RunConfig config = tiny_config(folder);
  config.training.batch_size = 1;
  config.training.gradient_accumulation_steps = kSlots;
  config.learner.digest_every = 1;
  change(config);
  return config;
}

// What each of `size` ranks ends with after `updates` updates of these slots; `before` may change a rank's model or records first.
std::vector<RankResult> train(const RunConfig& config, int size, int updates, const std::vector<std::int64_t>& slots,
                              const std::function<void(int rank, TinyLearner&, UpdateRecords&)>& before = {},
                              const std::stop_token& stop_of_last = {}) {
  std::vector<std::shared_ptr<ProcessGroup>> groups;
  for (auto& group : make_thread_process_groups(size)) groups.push_back(std::move(group));
  std::vector<RankResult> results(static_cast<std::size_t>(size));
  const auto problems = in_threads(size, [&](int rank) {
    const auto group = groups[static_cast<std::size_t>(rank)];
    RankResult& result = results[static_cast<std::size_t>(rank)];
    try {
      TinyLearner learner(config);
      UpdateRecords update = learner.update_of(slots);
      if (before) before(rank, learner, update);
      UpdateStep step(config, learner.model, group);
      const auto train_once = [&] {
        try {
          return step.train(share_of(update, kSlots, *group), rank == size - 1 ? stop_of_last : kNeverStop);
        } catch (const Error&) {
          if (step.non_finite()) result.non_finite = step.non_finite()->slots;
          throw;
        }
      };
      for (int i = 0; i < updates; ++i) {
        auto metrics = train_once();
        if (!metrics) break;
        result.metrics.push_back(std::move(*metrics));
      }
      result.weights = learner.model.policy->digest();
      if (learner.model.flow) result.flow = digest_of(named_tensors(*learner.model.flow));
    } catch (const Error& error) {
      result.error = error.what();
      result.code = static_cast<int>(error.code());
      group->abort(error.what());
    }
  });
  for (const auto& problem : problems) CHECK(problem == "");
  return results;
}

// Of values that may be small because they cancel.
double relative(double a, double b) { return std::abs(a - b) / std::max(std::abs(b), 1e-2); }

void check_like_one_rank(const RunConfig& config, const std::vector<std::int64_t>& slots, double tolerance) {
  constexpr int kUpdates = 5;
  const RankResult one = train(config, 1, kUpdates, slots).front();
  REQUIRE(one.error == "");
  for (const int size : {2, 4}) {
    CAPTURE(size);
    const auto ranks = train(config, size, kUpdates, slots);
    for (const auto& rank : ranks) {
      REQUIRE(rank.error == "");
      CHECK(rank.weights == ranks.front().weights);
      CHECK(rank.flow == ranks.front().flow);
      REQUIRE(rank.metrics.size() == kUpdates);
      for (std::size_t update = 0; update < kUpdates; ++update) {
        CAPTURE(update);
        for (const auto& [name, value] : one.metrics[update]) {
          CAPTURE(name);
          CHECK(relative(rank.metrics[update].at(name), value) < tolerance);
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("N ranks with k micro-steps train like one rank with N k") {
  const TinyModelFolder folder;
  // float32 sums in another order.
  check_like_one_rank(changed(folder, [](RunConfig&) {}), {0, 1, 2, 3}, 1e-5);
}

TEST_CASE("percentiles are those of all ranks' slots") {
  const TinyModelFolder folder;
  check_like_one_rank(changed(folder, [](RunConfig& c) { c.model.reward_grad_clip_percentile = 60; }), {0, 1, 2, 3}, 1e-5);
}

TEST_CASE("advantages are those of all ranks' slots") {
  const TinyModelFolder folder;
  TinyLearner learner(changed(folder, [](RunConfig&) {}));
  const UpdateRecords update = learner.update_of({0, 1, 2, 3});
  const RecordNeeds needs = record_needs_of(learner.config);
  const auto expected = statistics_of(facts_of(update, needs, GradientNorms::kNone), 0).advantages;
  REQUIRE(expected.front() != expected.back());
  std::vector<std::vector<double>> advantages(2);
  const auto problems = with_thread_group(2, [&](ProcessGroup& group) {
    const auto own = facts_of(share_of(update, kSlots, group), needs, GradientNorms::kNone);
    if (own.size() != 2) throw failure("a rank holds {} slots", own.size());
    advantages[static_cast<std::size_t>(group.rank())] = statistics_of(gather(group, own), 0).advantages;
  });
  for (const auto& problem : problems) CHECK(problem == "");
  for (const auto& of_rank : advantages) CHECK(of_rank == expected);
}

TEST_CASE("ranks may hold different numbers of slots, and none") {
  const TinyModelFolder folder;
  check_like_one_rank(changed(folder, [](RunConfig&) {}), {0, 1, 3}, 1e-5);
  check_like_one_rank(changed(folder, [](RunConfig&) {}), {1}, 1e-5);
}

TEST_CASE("a loss that is not finite on one rank ends all of them with exit code 6 and names its slot") {
  const TinyModelFolder folder;
  const auto ranks = train(changed(folder, [](RunConfig&) {}), 2, 1, {0, 1, 2}, [](int, TinyLearner& learner, UpdateRecords& update) {
    update.records.push_back(learner.record(3, {{"reward_grad_y", at::full({3, 4, 4, 4}, std::numeric_limits<float>::infinity())}}));
  });
  for (const auto& rank : ranks) {
    INFO(rank.error);
    CHECK(rank.code == 6);
    CHECK(rank.error.find("the loss of slots 3 is") != std::string::npos);
    CHECK(rank.non_finite == std::vector<std::int64_t>{3});
  }
}

TEST_CASE("a stop that one rank was asked for stops all of them before the step") {
  const TinyModelFolder folder;
  const RunConfig config = changed(folder, [](RunConfig&) {});
  std::stop_source stop;
  stop.request_stop();
  const std::string untrained = TinyLearner(config).model.policy->digest();
  for (const auto& rank : train(config, 2, 3, {0, 1, 2, 3}, {}, stop.get_token())) {
    CHECK(rank.error == "");
    CHECK(rank.metrics.empty());
    CHECK(rank.weights == untrained);
  }
}

TEST_CASE("ranks whose weights differ find out and say so") {
  const TinyModelFolder folder;
  const auto disturb = [](int rank, TinyLearner& learner, UpdateRecords&) {
    const at::NoGradGuard no_grad;
    if (rank == 1) learner.model.policy->lora().parameters().front().add_(1e-3);
  };
  for (const auto& rank : train(changed(folder, [](RunConfig&) {}), 2, 1, {0, 1, 2, 3}, disturb)) {
    INFO(rank.error);
    CHECK(rank.error.find("the ranks differ in weights and optimisers after 1 updates") != std::string::npos);
    CHECK(rank.error.find("rank 1 has") != std::string::npos);
  }
  for (const auto& rank : train(changed(folder, [](RunConfig& c) { c.learner.digest_every = 2; }), 2, 1, {0, 1, 2, 3}, disturb))
    CHECK(rank.error == "");
}
