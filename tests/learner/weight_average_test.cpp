#include "learner/weight_average.h"

#include "common/json_file.h"
#include "learner/checkpoint/named_tensors.h"
#include "learner/lent_values.h"
#include "learner/update_step.h"
#include "tests/common/error_check.h"
#include "tests/diffusion/parity_data.h"
#include "tests/learner/tiny_model.h"

using namespace nabla;
using namespace nabla::testing;

namespace {

const std::stop_token kNeverStop;

void fill(const LoraAdapter& lora, double value) {
  const at::NoGradGuard no_grad;
  for (auto [name, tensor] : lora.tensors()) tensor.fill_(value);
}

double largest_difference(const TensorMap& values, double expected) {
  double largest = 0;
  for (const auto& [name, value] : values) largest = std::max(largest, (value - expected).abs().max().item<double>());
  return largest;
}

}  // namespace

TEST_CASE("the average of the weights is diffusers'") {
  const TinyModelFolder folder;
  const auto facts = read_json(parity_file("optimizers/facts.json"));
  for (const auto& known : facts.at("average")) {
    TinyLearner learner(tiny_config(folder));
    WeightAverage average(learner.model.policy->lora(), known.at("decay"));
    for (std::size_t update = 0; update < known.at("values").size(); ++update) {
      fill(learner.model.policy->lora(), known.at("values").at(update));
      average.after_step(static_cast<std::int64_t>(update));
      CHECK(largest_difference(average.values(), known.at("averages").at(update)) < 1e-6);  // float32 against float64
    }
  }
}

TEST_CASE("an average trains nothing, follows the weights and comes back from the state") {
  const TinyModelFolder folder;
  RunConfig plain = tiny_config(folder), averaged = plain;
  averaged.training.ema_decay = 0.9;
  TinyLearner without(plain), with(averaged), resumed(averaged);
  UpdateStep plain_step(plain, without.model), step(averaged, with.model), restored(averaged, resumed.model);
  const UpdateRecords records = with.update_of({0, 1, 2, 3});
  UpdateRecords next = records;
  next.update = 1;
  for (const UpdateRecords* update : std::initializer_list<const UpdateRecords*>{&records, &next}) {
    REQUIRE(plain_step.train(*update, kNeverStop));
    REQUIRE(step.train(*update, kNeverStop));
  }
  CHECK(with.model.policy->digest() == without.model.policy->digest());
  CHECK(plain_step.average() == nullptr);
  const TensorMap values = step.average()->values();
  CHECK(digest_of(values) != digest_of(with.model.policy->lora().tensors()));
  restored.load_state(step.state());
  CHECK(digest_of(restored.average()->values()) == digest_of(values));
  // A run may begin it where it goes on, and leave it there.
  restored.load_state(plain_step.state());
  CHECK(digest_of(restored.average()->values()) == without.model.policy->digest());
  plain_step.load_state(step.state());
  CHECK(without.model.policy->digest() == with.model.policy->digest());
}

TEST_CASE("lent values are the LoRA's while they live, and its own come back") {
  const TinyModelFolder folder;
  TinyLearner learner(tiny_config(folder));
  const LoraAdapter& lora = learner.model.policy->lora();
  fill(lora, 2.0);
  const std::string before = learner.model.policy->digest();
  TensorMap other = copies_of(lora.tensors());
  for (auto& [name, tensor] : other) tensor.fill_(3.0);
  {
    const LentValues lent(lora, other);
    CHECK(largest_difference(lora.tensors(), 3.0) == 0.0);
  }
  CHECK(learner.model.policy->digest() == before);
}
