#include "protocol/log_check.h"
#include "tests/common/error_check.h"
#include "tests/protocol/failing_disk.h"
#include "tests/protocol/test_log.h"

#include <cerrno>

namespace nabla {

namespace {

void check_clean(const std::string& folder) {
  const LogCheck check = check_log(folder);
  for (const LogDamage& damage : check.damages) FAIL_CHECK(damage.segment, " at byte ", damage.begin, ": ", damage.reason);
}

}  // namespace

TEST_CASE("a sync that fails once sends the entries to a new segment, and nothing is lost or twice in the log") {
  const TemporaryFolder folder;
  const auto log = make_log(folder.path(), 1 << 20, Durability::kFsync);
  log->append(sample_record(0));
  {
    const FailingCalls eio(DiskCall::kSync, EIO);
    log->append(sample_record(1));
    CHECK(eio.calls() > 1);  // it was acknowledged after a sync that succeeded
  }
  log->append(sample_record(2));
  log->close();
  CHECK(files_of(folder.path(), ".seg").size() == 2);
  CHECK(slots_of(folder.path()) == first_slots(3));
  check_clean(folder.path());
}

TEST_CASE("a segment whose footer cannot be made durable stays without one, and the next goes on") {
  const TemporaryFolder folder;
  const auto log = make_log(folder.path(), 1 << 20, Durability::kFsync);
  log->append(sample_record(0));
  {
    const FailingCalls eio(DiskCall::kSync, EIO, 0, 2);
    log->append(sample_record(1));
  }
  log->close();
  CHECK(slots_of(folder.path()) == first_slots(2));
  check_clean(folder.path());
}

TEST_CASE("entries that a failed sync left behind are not read twice") {
  const TemporaryFolder folder;
  const auto log = make_log(folder.path(), 1 << 20, Durability::kFsync);
  log->append(sample_record(0));
  {
    const FailingCalls eio(DiskCall::kSync, EIO, 0, 2), uncut(DiskCall::kCut, EIO, 0, 2);
    log->append(sample_record(1));
  }
  log->append(sample_record(2));
  log->close();
  CHECK(slots_of(folder.path(), 1) == first_slots(3));
  check_clean(folder.path());
}

TEST_CASE("a disk that fails every sync acknowledges nothing more") {
  const TemporaryFolder folder;
  const auto log = make_log(folder.path(), 1 << 20, Durability::kFsync);
  log->append(sample_record(0));
  {
    const FailingCalls eio(DiskCall::kSync, EIO, 0, 1000);
    check_error(
        ExitCode::kFailure, [&] { log->append(sample_record(1)); }, folder.path(), "Input/output error");
  }
  check_error(
      ExitCode::kFailure, [&] { log->append(sample_record(2)); }, "Input/output error");
  CHECK(slots_of(folder.path()) == first_slots(1));
}

TEST_CASE("a write that fails once, at any call, sends the entries to a new segment") {
  for (const Durability durability : {Durability::kPageCache, Durability::kFsync}) {
    for (int call = 0; call < 8; ++call) {
      const TemporaryFolder folder;
      const FreeSyncs no_syncs;
      const auto log = make_log(folder.path(), 4000, durability);
      const FailingCalls eio(DiskCall::kWrite, EIO, call);
      const ShortWrites split(300);
      for (std::int64_t slot = 0; slot < 3; ++slot) log->append(sample_record(slot));
      log->close();
      INFO("call ", call);
      CHECK(slots_of(folder.path()) == first_slots(3));
      check_clean(folder.path());
    }
  }
}

TEST_CASE("a disk that became read-only ends the log with what was acknowledged") {
  const TemporaryFolder folder;
  const auto log = make_log(folder.path());
  log->append(sample_record(0));
  {
    const FailingCalls erofs(DiskCall::kWrite, EROFS, 0, 1000), uncut(DiskCall::kCut, EROFS, 0, 1000);
    check_error(
        ExitCode::kFailure, [&] { log->append(sample_record(1)); }, folder.path(), "Read-only");
  }
  CHECK(slots_of(folder.path()) == first_slots(1));
}

TEST_CASE("a full disk is no reason to try another segment") {
  const TemporaryFolder folder;
  const auto log = make_log(folder.path());
  const FailingCalls full(DiskCall::kWrite, ENOSPC);
  check_error(
      ExitCode::kFailure, [&] { log->append(sample_record(0)); }, "q-000000000000.seg", "disk is full");
  CHECK(files_of(folder.path(), ".seg").size() == 1);
}

TEST_CASE("writes that take a few bytes only, or are interrupted, make the same log") {
  const TemporaryFolder whole;
  write_log(whole.path(), 3);
  const FileBytes expected = load(files_of(whole.path(), ".seg").front());
  for (const std::size_t bytes : {1u, 7u, 64u, 1000u}) {
    const TemporaryFolder folder;
    const ShortWrites few(bytes);
    const FailingCalls interrupted(DiskCall::kWrite, EINTR, 3, 5);
    write_log(folder.path(), 3);
    FileBytes written = load(files_of(folder.path(), ".seg").front());
    REQUIRE(written.size() == expected.size());
    // Only the time in the header, its checksum and the footer's digest differ.
    CHECK(std::equal(written.begin() + 64, written.begin() + 2048, expected.begin() + 64));
    check_clean(folder.path());
  }
}

TEST_CASE("a segment of the page cache that cannot be made durable when it is full ends the log") {
  const TemporaryFolder folder;
  const auto log = make_log(folder.path(), 4000);
  const FailingCalls eio(DiskCall::kSync, EIO, 0, 1000);
  check_error(
      ExitCode::kFailure,
      [&] {
        for (std::int64_t slot = 0; slot < 10; ++slot) log->append(sample_record(slot));
      },
      folder.path(), "Input/output error");
}

}  // namespace nabla
