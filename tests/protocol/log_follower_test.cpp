#include "protocol/log_follower.h"

#include "tests/common/error_check.h"
#include "tests/protocol/test_log.h"

#include <thread>

namespace nabla {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLong{20000};

std::vector<std::int64_t> follow_to_end(TrajectoryLogFollower& follower) {
  std::vector<std::int64_t> slots;
  while (!follower.ended()) {
    const auto entry = follower.next(kLong, {});
    if (entry && std::holds_alternative<EncodedRecord>(*entry)) slots.push_back(slot_of(*entry));
  }
  return slots;
}

}  // namespace

TEST_CASE("a follower gets every entry that another thread appends, through all segments, and ends when the log is closed") {
  const TemporaryFolder folder;
  auto log = make_log(folder.path(), 4000);
  TrajectoryLogFollower follower(folder.path());
  std::jthread writer([&] {
    for (std::int64_t slot = 0; slot < 60; ++slot) log->append(sample_record(slot));
    log->close();
  });
  CHECK(follow_to_end(follower) == first_slots(60));
  CHECK(follower.warnings().empty());
}

TEST_CASE("a follower reads no entry that is not durable yet, and goes on when it is") {
  const TemporaryFolder folder;
  const auto log = make_log(folder.path(), 1 << 20, Durability::kMemory);
  TrajectoryLogFollower follower(folder.path());
  REQUIRE(follower.next(milliseconds(0), {}));  // the header
  for (std::int64_t slot = 0; slot < 15; ++slot) log->append(sample_record(slot));
  CHECK_FALSE(follower.next(milliseconds(0), {}));
  CHECK_FALSE(follower.ended());
  log->append(sample_record(15));  // fills the group
  for (std::int64_t slot = 0; slot < 16; ++slot) {
    const auto entry = follower.next(milliseconds(0), {});
    REQUIRE(entry);
    CHECK(slot_of(*entry) == slot);
  }
  CHECK_FALSE(follower.next(milliseconds(0), {}));
  log->close();
  CHECK_FALSE(follower.next(kLong, {}));
  CHECK(follower.ended());
}

TEST_CASE("a follower that waits is woken by a stop request") {
  const TemporaryFolder folder;
  const auto log = make_log(folder.path());
  TrajectoryLogFollower follower(folder.path());
  REQUIRE(follower.next(milliseconds(0), {}));
  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  CHECK_FALSE(follower.next(std::chrono::hours(1), stop.get_token()));
  CHECK_FALSE(follower.ended());
}

TEST_CASE("a log whose writer was killed is followed to its torn end") {
  const TemporaryFolder folder;
  const std::string segment = folder.file("q-000000000000.seg");
  FileBytes bytes;
  {
    const auto log = make_log(folder.path());
    for (std::int64_t slot = 0; slot < 3; ++slot) log->append(sample_record(slot));
    bytes = load(segment);
    // The mark of a killed process stays.
    std::filesystem::copy_file(folder.file("durable.mark"), folder.file("mark"));
  }
  std::filesystem::rename(folder.file("mark"), folder.file("durable.mark"));
  bytes.erase(bytes.end() - 5, bytes.end());
  store(segment, bytes);
  TrajectoryLogFollower follower(folder.path());
  CHECK(follow_to_end(follower) == first_slots(2));
  CHECK(follower.warnings().size() == 1);
}

TEST_CASE("a closed log is followed like it is read") {
  const TemporaryFolder folder;
  write_log(folder.path(), 5, 4000);
  TrajectoryLogFollower follower(folder.path());
  CHECK(follow_to_end(follower) == first_slots(5));
  check_error(
      ExitCode::kData, [&] { TrajectoryLogFollower(folder.file("absent")); }, "absent");
}

TEST_CASE("the mark of a log is there while it is open and gone afterwards") {
  const TemporaryFolder folder;
  const auto log = make_log(folder.path());
  CHECK(progress_of_log(folder.path()).live);
  CHECK(progress_of_log(folder.path()).end_seq == 1);
  log->append(sample_record(0));
  CHECK(progress_of_log(folder.path()).end_seq == 2);
  log->close();
  CHECK_FALSE(progress_of_log(folder.path()).live);
  CHECK(files_of(folder.path(), ".mark").empty());
}

}  // namespace nabla
