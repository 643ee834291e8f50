#include "learner/record_validator.h"

#include "tests/learner_core/fixture.h"
#include "tests/testing.h"

using namespace nabla;
using namespace nabla::testing;

namespace {

struct Bench {
  explicit Bench(const RunConfig& config = small_config()) : plan(make_plan(config)), validator(small_rules(), plan, journal) {
    journal.publish(0, "digest-0");
    journal.publish(1, "digest-1");
  }
  Reject judge(const EncodedRecord& record) const { return validator.validate(record).reject; }
  template <class Change>
  Reject judge_header(std::int64_t slot, Change change) const {
    RecordHeader header = header_of(plan, slot, {});
    change(header);
    return judge(encode_with(std::move(header), {}));
  }

  VersionJournal journal;
  SlotPlan plan;
  RecordValidator validator;
};

}  // namespace

TEST_CASE("an honest record is accepted") {
  const Bench bench;
  const Verdict verdict = bench.validator.validate(make_record(bench.plan, 9));
  CHECK(verdict.reject == Reject::kNone);
  CHECK(verdict.reason == "");
  CHECK(verdict.record->header.slot == 9);
}

TEST_CASE("a record of another run, slot, update or ticket is refused by its name") {
  const Bench bench;
  CHECK(bench.judge_header(9, [](RecordHeader& h) { h.run_id = "run-2"; }) == Reject::kUnknownRun);
  CHECK(bench.judge_header(9, [](RecordHeader& h) { h.slot = 32; }) == Reject::kUnknownSlot);
  CHECK(bench.judge_header(9, [](RecordHeader& h) { h.update = 2; }) == Reject::kUnknownSlot);
  CHECK(bench.judge_header(9, [](RecordHeader& h) { h.ticket_id = 9; }) == Reject::kUnknownTicket);
}

TEST_CASE("weights that were never published, are too old or have another digest are refused") {
  const Bench bench;
  CHECK(bench.judge_header(9, [](RecordHeader& h) { h.version = 2; }) == Reject::kUnknownVersion);
  CHECK(bench.judge_header(9, [](RecordHeader& h) { h.digest = "other"; }) == Reject::kBadDigest);
  CHECK(bench.judge_header(17, [](RecordHeader&) {}) == Reject::kUnknownVersion);  // update 2 asks for version 1 at least
  CHECK(bench.judge(make_record(bench.plan, 17, {.version = 1})) == Reject::kNone);
}

TEST_CASE("lockstep takes no newer version either") {
  RunConfig config = small_config();
  config.fleet.lockstep = true;
  const Bench bench(config);
  CHECK(bench.judge(make_record(bench.plan, 3, {.version = 0})) == Reject::kNone);
  CHECK(bench.judge(make_record(bench.plan, 3, {.version = 1})) == Reject::kUnknownVersion);
}

TEST_CASE("transitions other than the ticket's are refused") {
  const Bench bench;
  CHECK(bench.judge_header(9, [](RecordHeader& h) { h.step_table_id = "table-2"; }) == Reject::kBadTransitions);
  CHECK(bench.judge_header(9, [](RecordHeader& h) { ++h.transitions.front().timestep; }) == Reject::kBadTransitions);
  CHECK(bench.judge_header(9, [](RecordHeader& h) { h.transitions.pop_back(); }) == Reject::kBadTransitions);
}

TEST_CASE("prompt, seed, tokens and gradient kind are the ticket's") {
  const Bench bench;
  CHECK(bench.judge_header(9, [](RecordHeader& h) { h.prompt = "a huge star"; }) == Reject::kBadHeader);
  CHECK(bench.judge_header(9, [](RecordHeader& h) { ++h.seed; }) == Reject::kBadHeader);
  CHECK(bench.judge_header(9, [](RecordHeader& h) { h.token_ids = {1}; }) == Reject::kBadHeader);
  CHECK(bench.judge_header(9, [](RecordHeader& h) { h.token_ids = {1, 10}; }) == Reject::kBadHeader);
  CHECK(bench.judge_header(9, [](RecordHeader& h) { h.gradient_kind = "terminal"; }) == Reject::kBadHeader);
}

TEST_CASE("missing, unknown and badly shaped tensors are refused and named") {
  const Bench bench;
  const Verdict missing = bench.validator.validate(make_record(bench.plan, 9, {.without = "reward_grad_x"}));
  CHECK(missing.reject == Reject::kBadTensor);
  CHECK(missing.reason.find("reward_grad_x") != std::string::npos);
  CHECK(bench.judge(make_record(bench.plan, 9, {.extra = "surprise"})) == Reject::kBadTensor);
  CHECK(bench.judge(make_record(bench.plan, 9, {.channels = 2})) == Reject::kBadTensor);
}

TEST_CASE("a value that is not finite is refused, and the slot is known") {
  const Bench bench;
  const Verdict verdict = bench.validator.validate(make_record(bench.plan, 9, {.poison = std::numeric_limits<float>::quiet_NaN()}));
  CHECK(verdict.reject == Reject::kNonFinite);
  CHECK(verdict.record->header.slot == 9);
}

TEST_CASE("a flipped bit is refused") {
  const Bench bench;
  EncodedRecord record = make_record(bench.plan, 9);
  std::vector<std::byte> flipped(record.data.view.begin(), record.data.view.end());
  flipped[20] ^= std::byte{4};
  record.data.view = flipped;
  CHECK(bench.judge(record) == Reject::kBadChecksum);
}

TEST_CASE("without the reverse loss its tensors are not expected") {
  RunConfig config;
  config.model.no_flow = true;
  CHECK(tensor_names(record_needs_of(config)) == std::vector<std::string>{"x", "y", "eps_behaviour", "eps_reference", "reward_grad_y"});
}
