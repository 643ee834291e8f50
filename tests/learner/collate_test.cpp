#include "learner/collate.h"

#include "tests/common/error_check.h"
#include "tests/learner/tiny_model.h"

#include <cstring>

using namespace nabla;
using namespace nabla::testing;

namespace {

MicroBatch collate_slots(const TinyLearner& learner, const std::vector<SharedRecord>& records, const CollateOptions& options = {}) {
  PromptEncoder prompts(learner.model.text_encoder);
  return collate(records, learner.model.table, options, prompts, learner.model.empty_prompt);
}

Tensor tensor_of(const TrajectoryRecord& record, const std::string& name) {
  const TensorEntry* entry = record.find(name);
  REQUIRE(entry != nullptr);
  Tensor tensor = at::empty(entry->shape, at::kFloat);
  std::memcpy(tensor.mutable_data_ptr(), record.bytes(*entry).data(), tensor.nbytes());
  return tensor;
}

}  // namespace

TEST_CASE("rows stand slot by slot in the given order, the terminal one last, with their own tensors") {
  const TinyModelFolder folder;
  const TinyLearner learner(tiny_config(folder));
  const std::vector<SharedRecord> records{learner.record(2), learner.record(0), learner.record(3)};
  const MicroBatch micro = collate_slots(learner, records);
  const TransitionBatch& batch = micro.transitions;
  const std::int64_t rows = learner.plan.rows();
  REQUIRE(rows == 3);
  CHECK(batch.num_slots == 3);
  for (std::int64_t i = 0; i < 3; ++i) {
    const TrajectoryRecord& record = *records[static_cast<std::size_t>(i)];
    for (const auto& [name, tensor] : {std::pair{"x", batch.x},
                                       {"y", batch.y},
                                       {"eps_behaviour", batch.eps_behaviour},
                                       {"eps_reference", batch.eps_reference},
                                       {"reward_grad_y", batch.reward_grad_y},
                                       {"reward_grad_x", batch.reward_grad_x},
                                       {"reverse_score_reference", batch.reverse_score_reference},
                                       {"reverse_score_policy", batch.reverse_score_policy}}) {
      INFO(name);
      CHECK(tensor.narrow(0, i * rows, rows).equal(tensor_of(record, name)));
    }
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto at = i * rows + row;
      const auto step = record.header.transitions[static_cast<std::size_t>(row)].step;
      const Transition& transition = learner.model.table.transitions[static_cast<std::size_t>(step)];
      CHECK(batch.is_terminal[at].item<bool>() == (row + 1 == rows));
      CHECK(batch.timestep[at].item<std::int64_t>() == transition.timestep);
      CHECK(batch.next_timestep[at].item<std::int64_t>() == transition.next_timestep);
      CHECK(batch.weight[at].item<float>() == static_cast<float>(transition.weight.value()));
      CHECK(batch.alpha_bar[at].item<float>() == static_cast<float>(transition.alpha_bar));
      CHECK(batch.alpha_bar_next[at].item<float>() == static_cast<float>(transition.alpha_bar_next));
      CHECK(batch.slot_weight[at].item<float>() == static_cast<float>(1.0 / 3));
    }
  }
}

TEST_CASE("each row has its own prompt, encoded alone") {
  const TinyModelFolder folder;
  const TinyLearner learner(tiny_config(folder));
  const std::vector<SharedRecord> records{learner.record(0), learner.record(1), learner.record(2), learner.record(3)};
  const MicroBatch micro = collate_slots(learner, records);
  const auto encode = [&](const std::vector<std::int64_t>& ids) {
    return learner.model.text_encoder->forward(torch::tensor(ids, at::kLong).unsqueeze(0)).last_hidden_state;
  };
  for (std::int64_t slot = 0; slot < 4; ++slot) {
    const Tensor expected = encode(learner.tokenizer.encode(learner.plan.order_of(slot).prompt));
    for (std::int64_t row = 0; row < 3; ++row) CHECK(micro.conditioning.prompt_embeds.narrow(0, 3 * slot + row, 1).equal(expected));
  }
  CHECK(micro.conditioning.negative_embeds.equal(encode(learner.tokenizer.encode(""))));
  CHECK_FALSE(micro.conditioning.prompt_embeds.requires_grad());
}

TEST_CASE("the batch outlives its records") {
  const TinyModelFolder folder;
  const TinyLearner learner(tiny_config(folder));
  std::vector<SharedRecord> records{learner.record(1)};
  const Tensor expected = tensor_of(*records[0], "x");
  const MicroBatch micro = collate_slots(learner, records);
  records.clear();
  CHECK(micro.transitions.x.equal(expected));
}

TEST_CASE("without the reverse loss its tensors are not asked for") {
  const TinyModelFolder folder;
  const TinyLearner learner(tiny_config(folder));
  RunConfig config = tiny_config(folder);
  config.model.no_flow = true;
  const MicroBatch micro = collate_slots(learner, {learner.record(0)}, {.needs = record_needs_of(config), .inclusion = {}});
  CHECK_FALSE(micro.transitions.reward_grad_x.defined());
  CHECK_FALSE(micro.transitions.reverse_score_policy.defined());
}

TEST_CASE("a record without a tensor is named by slot and tensor") {
  const TinyModelFolder folder;
  const TinyLearner learner(tiny_config(folder));
  auto record = std::make_shared<TrajectoryRecord>(*learner.record(1));
  std::erase_if(record->header.tensors, [](const TensorEntry& entry) { return entry.name == "y"; });
  check_error(
      ExitCode::kFailure, [&] { collate_slots(learner, {record}); }, "slot 1", "'y'");
}
