#include "learner/replay_source.h"

#include "tests/common/error_check.h"
#include "tests/protocol/test_log.h"

#include <thread>

namespace nabla {

namespace {

// Slots of the records up to the end of the log.
std::vector<std::int64_t> replayed_slots(ReplaySource& source) {
  std::vector<std::int64_t> slots;
  while (const auto entry = source.next({})) {
    if (std::holds_alternative<EncodedRecord>(*entry)) slots.push_back(slot_of(*entry));
  }
  return slots;
}

}  // namespace

TEST_CASE("a replay's source tells a log as it stands") {
  const TemporaryFolder folder;
  write_log(folder.path(), 5);
  ReplaySource source(folder.path(), {});
  CHECK(replayed_slots(source) == first_slots(5));
  CHECK(source.warnings().empty());
  check_error(
      ExitCode::kData, [&] { ReplaySource(folder.file("absent"), {}); }, "absent");
}

TEST_CASE("a rate spaces the records and nothing else") {
  const TemporaryFolder folder;
  write_log(folder.path(), 5);
  ReplaySource source(folder.path(), {.records_per_s = 100});
  const auto start = std::chrono::steady_clock::now();
  CHECK(replayed_slots(source) == first_slots(5));
  CHECK(std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(40));  // four pauses of 10 ms
}

TEST_CASE("a stop request ends the pause of a rate") {
  const TemporaryFolder folder;
  write_log(folder.path(), 2);
  ReplaySource source(folder.path(), {.records_per_s = 1e-3});
  std::stop_source stop;
  REQUIRE(source.next(stop.get_token()));  // the header
  REQUIRE(source.next(stop.get_token()));  // the first record, at once
  std::jthread stopper([&] { stop.request_stop(); });
  CHECK(source.next(stop.get_token()));
}

TEST_CASE("following goes on until the log is closed") {
  const TemporaryFolder folder;
  const auto log = make_log(folder.path());
  ReplaySource source(folder.path(), {.follow = true});
  std::jthread writer([&] {
    for (std::int64_t slot = 0; slot < 20; ++slot) log->append(sample_record(slot));
    log->close();
  });
  CHECK(replayed_slots(source) == first_slots(20));
}

TEST_CASE("following ends on a stop request") {
  const TemporaryFolder folder;
  const auto log = make_log(folder.path());
  ReplaySource source(folder.path(), {.follow = true});
  std::stop_source stop;
  REQUIRE(source.next(stop.get_token()));
  std::jthread stopper([&] { stop.request_stop(); });
  CHECK_FALSE(source.next(stop.get_token()));
}

}  // namespace nabla
