#include "protocol/log_trim.h"

#include "protocol/log_check.h"
#include "protocol/log_recovery.h"
#include "tests/common/error_check.h"
#include "tests/protocol/test_log.h"

#include <set>

namespace nabla {

namespace {

constexpr std::int64_t kRunUpdates = 10, kRunSlots = 4;

EncodedRecord lagging_record(std::int64_t slot, std::int64_t version) {
  RecordHeader header = sample_header(slot);
  header.update = slot / kRunSlots;
  header.version = version;
  return encode_record(header, sample_tensors());
}

// A run whose records lag by `lag` versions; a segment holds about one update.
std::unique_ptr<TrajectoryLog> write_run(const std::string& folder, std::int64_t lag) {
  auto log = make_log(folder, 6000);
  log->append(PublishEntry{0, "digest-0"});
  for (std::int64_t update = 0; update < kRunUpdates; ++update) {
    std::vector<std::int64_t> slots;
    for (std::int64_t i = 0; i < kRunSlots; ++i) {
      slots.push_back(update * kRunSlots + i);
      log->append(lagging_record(slots.back(), std::max<std::int64_t>(update - lag, 0)));
    }
    log->append(TrainedEntry{update, slots});
    log->append(PublishEntry{update + 1, "digest"});
  }
  return log;
}

}  // namespace

TEST_CASE("trimming takes whole sealed segments of earlier updates, and what is left is a log") {
  for (const std::int64_t lag : {0, 3}) {
    const TemporaryFolder folder;
    write_run(folder.path(), lag)->close();
    const auto before = files_of(folder.path(), ".seg");
    const LogTrim planned = plan_trim(folder.path(), 6);
    CHECK(files_of(folder.path(), ".seg") == before);
    REQUIRE_FALSE(planned.segments.empty());
    const LogTrim trim = trim_log(folder.path(), 6);
    CHECK(trim.segments == planned.segments);
    CHECK(trim.bytes > 0);
    CHECK(trim.entries > 0);
    CHECK(files_of(folder.path(), ".seg").size() == before.size() - trim.segments.size());

    const auto slots = slots_of(folder.path());
    for (std::int64_t slot = 6 * kRunSlots; slot < kRunUpdates * kRunSlots; ++slot) CHECK(std::ranges::count(slots, slot) == 1);
    CHECK(slots.front() > 0);
    CHECK(check_log(folder.path()).damages.empty());
    CHECK(trim_log(folder.path(), 6).segments.empty());
    TrajectoryLogReader reader(folder.path());
    CHECK(std::get<LogHeader>(*reader.next()).config == kLogHeader.config);

    // Every version that a remaining record of these updates was made by is still published in it.
    std::set<std::int64_t> published;
    while (const auto entry = reader.next()) {
      if (const auto* publish = std::get_if<PublishEntry>(&*entry)) published.insert(publish->version);
      const auto* record = std::get_if<EncodedRecord>(&*entry);
      if (record == nullptr) continue;
      const RecordHeader header = decode_record(*record, {}).record.header;
      if (header.update >= 6) CHECK(published.contains(header.version));
    }
  }
}

TEST_CASE("a trimmed log goes on") {
  const TemporaryFolder folder;
  write_run(folder.path(), 1)->close();
  trim_log(folder.path(), 5);
  TrajectoryLogOptions options;
  options.folder = folder.path();
  ReopenedLog reopened = TrajectoryLog::reopen(options, kLogHeader);
  reopened.log->append(lagging_record(kRunUpdates * kRunSlots, kRunUpdates));
  reopened.log->close();
  CHECK(slots_of(folder.path()).back() == kRunUpdates * kRunSlots);
}

TEST_CASE("neither the last segment nor one that is not sealed goes") {
  const TemporaryFolder folder;
  {
    const auto log = write_run(folder.path(), 0);
    const LogTrim trim = trim_log(folder.path(), 1000);  // while it is appended to
    CHECK_FALSE(trim.segments.empty());
    CHECK_FALSE(trim.kept_because.empty());
    log->append(lagging_record(kRunUpdates * kRunSlots, kRunUpdates));
  }
  CHECK(slots_of(folder.path()).back() == kRunUpdates * kRunSlots);
  CHECK(check_log(folder.path()).damages.empty());
  const TemporaryFolder single;
  write_log(single.path(), 3);
  CHECK(trim_log(single.path(), 1000).segments.empty());
}

TEST_CASE("nothing goes before the first update, and a folder without a log is named") {
  const TemporaryFolder folder;
  write_run(folder.path(), 0)->close();
  const LogTrim trim = plan_trim(folder.path(), 0);
  CHECK(trim.segments.empty());
  CHECK(trim.kept_because.starts_with("it holds entries of update "));
  check_error(
      ExitCode::kData, [&] { plan_trim(folder.file("absent"), 1); }, "absent");
}

}  // namespace nabla
