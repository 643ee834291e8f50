#include "tests/chaos/checker.h"

#include "protocol/trajectory_log.h"
#include "tests/chaos/acks.h"
#include "tests/chaos/fake_learner.h"
#include "tests/chaos/fake_record.h"
#include "tests/common/temporary_folder.h"
#include "tests/testing.h"

#include <filesystem>
#include <functional>

using namespace nabla;
using namespace nabla::chaos;

namespace {

// A run of two updates of two slots, as a faultless learner would have left it, with one thing changed.
struct WrittenRun {
  struct Change {
    std::int64_t unlogged = -1, twice = -1, untrained = -1, discarded = -1, wrong_weights = -1;  // slots
    std::int64_t unpublished = -1;                                                               // version
    std::int64_t cursor = 2;
  };
  explicit WrittenRun(const Change& change) {
    shape.slots = 4;
    shape.slots_per_update = shape.ticket_size = 2;
    const SlotPlan plan = plan_of(shape);
    const RecordRules rules = rules_of(shape);
    std::filesystem::create_directories(folder.file("acks"));
    AckFile acks(folder.file("acks/a"));
    const auto log = TrajectoryLog::create({folder.file("log")}, {kRunId, "", text_of(shape)});
    std::string weights = first_weights(shape);
    log->append(PublishEntry{0, digest_of_weights(weights)});
    for (std::int64_t update = 0; update < 2; ++update) {
      std::vector<TrajectoryRecord> records;
      std::vector<std::int64_t> slots;
      for (std::int64_t slot = 2 * update; slot < 2 * update + 2; ++slot) {
        if (slot == change.discarded) log->append(DiscardEntry{slot, update, "test"});
        if (slot == change.discarded) continue;
        const std::string digest = digest_of_weights(weights);
        const EncodedRecord record =
            fake_record(shape, rules, plan, slot, {"a", update, digest, slot == change.wrong_weights ? "00" : digest, slot});
        for (int i = slot == change.unlogged ? 1 : 0; i < (slot == change.twice ? 2 : 1); ++i) log->append(record);
        acks.add({slot, slot, true, "a"});
        records.push_back(decode_record(record, {}).record);
        if (slot != change.untrained) slots.push_back(slot);
      }
      std::vector<TrainedRecord> trained;
      for (const auto& record : records) trained.push_back(trained_record(record));
      weights = next_weights(weights, trained);
      log->append(TrainedEntry{update, slots});
      if (update + 1 != change.unpublished) log->append(PublishEntry{update + 1, digest_of_weights(weights)});
    }
    log->close();
    write_checkpoint(folder.path(), {change.cursor, weights});
  }
  CheckResult check() const { return check_run(folder.path(), shape, RunEnd::kFinished); }

  TemporaryFolder folder;
  Shape shape;
};

CheckResult result_of(const WrittenRun::Change& change) { return WrittenRun(change).check(); }

}  // namespace

TEST_CASE("a run that lost nothing has a closed ledger and no findings") {
  const CheckResult result = result_of({});
  for (const Finding& finding : result.findings) MESSAGE(finding.kind, ": ", finding.text);
  CHECK(result.findings.empty());
  CHECK(result.ledger.issued == 4);
  CHECK(result.ledger.trained == 4);
  CHECK(result.ledger.residual() == 0);
  CHECK(result.acked == 4);
}

TEST_CASE("discarded slots are part of a closed ledger") {
  const CheckResult result = result_of({.discarded = 3});
  CHECK(result.findings.empty());
  CHECK(result.ledger.trained == 3);
  CHECK(result.ledger.discarded == 1);
  CHECK(result.ledger.residual() == 0);
}

TEST_CASE("whatever is missing, double or other than it should be is found") {
  CHECK(result_of({.unlogged = 1}).found("acked_missing"));
  CHECK(result_of({.unlogged = 1}).found("trained_unlogged"));
  CHECK(result_of({.twice = 2}).found("logged_twice"));
  CHECK(result_of({.untrained = 2}).found("lost_slot"));
  CHECK(result_of({.untrained = 2}).found("ledger_open"));
  CHECK(result_of({.untrained = 2}).found("weights_diverged"));
  CHECK(result_of({.wrong_weights = 3}).found("wrong_content"));
  CHECK(result_of({.unpublished = 1}).found("unpublished_version"));
  CHECK(result_of({.cursor = 1}).found("cursor_ahead"));
}

TEST_CASE("a damaged log is a finding") {
  const WrittenRun run({});
  const std::string path = run.folder.file("log/q-000000000000.seg");
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  CHECK(run.check().found("lost_slot"));
  CHECK(run.check().found("acked_missing"));
}
