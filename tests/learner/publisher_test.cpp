#include "learner/publisher.h"

#include "common/crc32c.h"
#include "learner/update_step.h"
#include "tests/learner/tiny_model.h"
#include "tests/testing.h"

#include <cstring>

using namespace nabla;
using namespace nabla::testing;

namespace {

// What an actor finds in a snapshot.
TensorMap unpack(const Snapshot& snapshot) {
  TensorMap tensors;
  for (const auto& entry : snapshot.table) {
    Tensor tensor = at::empty(entry.shape, at::TensorOptions().dtype(scalar_type(entry.dtype)));
    std::memcpy(tensor.mutable_data_ptr(), snapshot.data.view.data() + entry.offset, entry.size);
    tensors[entry.name] = tensor;
  }
  return tensors;
}

TensorMap lora_of(TensorMap tensors) {
  std::erase_if(tensors, [](const auto& item) { return item.first.starts_with("check."); });
  return tensors;
}

// The model after an update, so that its weights are not those of the start.
TinyLearner trained_learner(const RunConfig& config) {
  TinyLearner learner(config);
  UpdateStep step(learner.config, learner.model);
  step.train(learner.update_of({0, 1, 2, 3}), {});
  return learner;
}

}  // namespace

TEST_CASE("the digest of a snapshot is that of the tensors it carries") {
  const TinyModelFolder folder;
  TinyLearner learner = trained_learner(tiny_config(folder));
  const Snapshot snapshot = Publisher(learner.model).publish(1).snapshot;
  CHECK(snapshot.version == 1);
  CHECK(snapshot.digest == digest_of(lora_of(unpack(snapshot))));
  CHECK(snapshot.digest == learner.model.policy->digest());
  CHECK(snapshot.base_digest == ModelFolder::open(folder.path()).digest());
  CHECK(snapshot.data_crc32c == crc32c(snapshot.data.view));
}

TEST_CASE("a snapshot keeps its weights while the learner trains on") {
  const TinyModelFolder folder;
  TinyLearner learner(tiny_config(folder));
  const Snapshot snapshot = Publisher(learner.model).publish(0).snapshot;
  UpdateStep step(learner.config, learner.model);
  step.train(learner.update_of({0, 1, 2, 3}), {});
  CHECK(learner.model.policy->digest() != snapshot.digest);
  CHECK(digest_of(lora_of(unpack(snapshot))) == snapshot.digest);
}

TEST_CASE("version 0 predicts what the base does, a trained version something else") {
  const TinyModelFolder folder;
  TinyLearner fresh(tiny_config(folder)), trained = trained_learner(tiny_config(folder));
  const Publication start = Publisher(fresh.model).publish(0), later = Publisher(trained.model).publish(1);
  CHECK(unpack(start.snapshot).at("check.difference").abs().max().item<double>() == 0.0);
  CHECK(start.drift == 0.0);
  CHECK(unpack(later.snapshot).at("check.difference").abs().max().item<double>() > 0.0);
  CHECK(later.drift > 0.0);
  CHECK(Publisher(trained.model).drift() == later.drift);
}

TEST_CASE("whoever loads a snapshot reproduces its check pair with merged weights") {
  const TinyModelFolder folder;
  TinyLearner trained = trained_learner(tiny_config(folder)), other(tiny_config(folder));
  const TensorMap tensors = unpack(Publisher(trained.model).publish(1).snapshot);
  Policy& policy = *other.model.policy;
  policy.load(lora_of(tensors));
  const at::NoGradGuard no_grad;
  const Conditioning conditioning{tensors.at("check.prompt_embeds"), tensors.at("check.negative_embeds")};
  const auto predict = [&](WeightMode mode) {
    return policy.predict(mode, tensors.at("check.sample"), tensors.at("check.timestep"), conditioning);
  };
  const Tensor difference = predict(WeightMode::kMerged) - predict(WeightMode::kBase), expected = tensors.at("check.difference");
  CHECK((difference - expected).abs().max().item<double>() < 1e-5);
}

TEST_CASE("the check pair is no part of the training's cost") {
  const TinyModelFolder folder;
  TinyLearner learner(tiny_config(folder));
  Publisher(learner.model).publish(0);
  Publisher(learner.model).drift();
  CHECK(learner.model.policy->counters.forwards == 0);
}
