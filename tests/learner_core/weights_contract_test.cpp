#include "learner/weights_contract.h"

#include "learner/ledger.h"
#include "tests/testing.h"

using namespace nabla;

TEST_CASE("the weights contract changes with what decides the weights, and with nothing else") {
  const RunConfig config;
  const std::string own = weights_contract(config, "base", "prompts");
  const auto changed = [&](auto change) {
    RunConfig other = config;
    change(other);
    return weights_contract(other, "base", "prompts") != own;
  };
  CHECK(weights_contract(config, "base-2", "prompts") != own);
  CHECK(weights_contract(config, "base", "prompts-2") != own);
  CHECK(changed([](RunConfig& c) { c.seed = 1; }));
  CHECK(changed([](RunConfig& c) { c.training.lr = 2e-3; }));
  CHECK(changed([](RunConfig& c) { c.training.batch_size = 8; }));
  CHECK(changed([](RunConfig& c) { c.model.reward_scale = 5; }));
  CHECK(changed([](RunConfig& c) { c.model.lora_rank = 4; }));
  CHECK(changed([](RunConfig& c) { c.sampling.guidance_scale = 3; }));
  CHECK(changed([](RunConfig& c) { c.compat.flow_from_forward_loss = true; }));
  CHECK(changed([](RunConfig& c) { c.experiment.reward_sign = -1; }));
  CHECK(changed([](RunConfig& c) { c.training.optimizer = "lion"; }));
  CHECK(changed([](RunConfig& c) { c.training.lr_warmup_steps = 5; }));
  CHECK(!changed([](RunConfig& c) { c.training.ema_decay = 0.5; }));
  CHECK(!changed([](RunConfig& c) { c.training.updates = 3; }));
  CHECK(!changed([](RunConfig& c) { c.run.dir = "elsewhere"; }));
  CHECK(!changed([](RunConfig& c) { c.actors.count = 9; }));
  CHECK(!changed([](RunConfig& c) { c.fleet.bind = "tcp://127.0.0.1:*"; }));
}

TEST_CASE("discards are counted by the part of their reason before the colon") {
  DiscardCount count;
  count.add({1, 0, "attempts: ticket 3 failed"});
  count.add({2, 0, "attempts: ticket 4 failed"});
  count.add({3, 0, "non_finite: tensor x"});
  CHECK(count.by_reason() == std::map<std::string, std::int64_t>{{"attempts", 2}, {"non_finite", 1}});
}

TEST_CASE("the length of a run decides the weights where the learning rate falls towards its end") {
  RunConfig cosine;
  cosine.training.lr_scheduler = "cosine";
  RunConfig longer = cosine;
  longer.training.updates = 300;
  CHECK(weights_contract(cosine, "base", "prompts") != weights_contract(longer, "base", "prompts"));
  const auto differences = differences_in_contract(cosine, longer);
  REQUIRE(differences.size() == 1);
  CHECK(differences.front() == "training.updates was 200, is 300");
}
