#include "protocol/log_recovery.h"

#include "protocol/log_check.h"
#include "protocol/segment_footer.h"
#include "tests/common/error_check.h"
#include "tests/protocol/failing_disk.h"
#include "tests/protocol/test_log.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>

namespace nabla {

namespace {

ReopenedLog reopen(const std::string& folder, const LogHeader& header = kLogHeader) {
  TrajectoryLogOptions options;
  options.folder = folder;
  return TrajectoryLog::reopen(options, header);
}

std::vector<std::int64_t> slots_in(const LogRecovery& recovery) {
  std::vector<std::int64_t> slots;
  for (const LoggedRecord& record : recovery.records) slots.push_back(record.slot);
  return slots;
}

// The bytes of a log of `records` records in one segment as a killed process leaves it, and where its last record begins.
struct OpenSegment {
  FileBytes bytes;
  std::size_t last = 0;
};
OpenSegment unsealed_segment(std::int64_t records) {
  const TemporaryFolder folder;
  const std::string path = folder.file("q-000000000000.seg");
  const auto log = make_log(folder.path());
  OpenSegment left;
  for (std::int64_t slot = 0; slot < records; ++slot) {
    left.last = std::filesystem::file_size(path);
    log->append(sample_record(slot));
  }
  left.bytes = load(path);
  return left;
}

// Opens what is left of a log, appends one record and checks the whole.
LogRecovery go_on(const std::string& folder, std::int64_t expected_records) {
  ReopenedLog reopened = reopen(folder);
  CHECK(slots_in(reopened.recovery) == first_slots(expected_records));
  reopened.log->append(sample_record(expected_records));
  reopened.log->close();
  CHECK(slots_of(folder) == first_slots(expected_records + 1));
  const LogCheck check = check_log(folder);
  CHECK(check.damages.empty());
  CHECK(check.warnings.empty());
  return std::move(reopened.recovery);
}

bool receive(int descriptor, std::int64_t& slot) { return ::read(descriptor, &slot, sizeof slot) == static_cast<ssize_t>(sizeof slot); }

// In a process of its own: goes on with the log and tells each slot whose record was acknowledged.
[[noreturn]] void append_until_killed(const std::string& folder, int descriptor) {
  try {
    ReopenedLog reopened = reopen(folder);
    for (auto slot = static_cast<std::int64_t>(reopened.recovery.records.size());; ++slot) {
      reopened.log->append(sample_record(slot));
      if (::write(descriptor, &slot, sizeof slot) < 0) break;
    }
  } catch (...) {
  }
  ::_exit(1);
}

void check_refused(const std::string& folder, const std::string& segment) {
  const FileBytes before = load(segment);
  const auto files_before = files_of(folder, ".seg");
  check_error(
      ExitCode::kData, [&] { reopen(folder); }, segment, "at byte", "nabla log salvage");
  CHECK(load(segment) == before);
  CHECK(files_of(folder, ".seg") == files_before);
  CHECK(files_of(folder, ".torn").empty());
}

}  // namespace

TEST_CASE("a log that was closed goes on in a new segment, and knows what it held") {
  const TemporaryFolder folder;
  {
    const auto log = make_log(folder.path(), 2000);
    for (std::int64_t slot = 0; slot < 8; ++slot) log->append(sample_record(slot));
    log->append(DiscardEntry{8, 2, "non_finite: x"});
  }
  const std::size_t segments = files_of(folder.path(), ".seg").size();
  REQUIRE(segments > 2);
  ReopenedLog reopened = reopen(folder.path());
  CHECK(slots_in(reopened.recovery) == first_slots(8));
  CHECK(reopened.recovery.records[3].kind == TicketKind::kSample);
  CHECK(reopened.recovery.records[3].version == 1);
  CHECK(reopened.recovery.discarded == std::vector<std::int64_t>{8});
  CHECK(reopened.recovery.header.config == kLogHeader.config);
  CHECK(reopened.recovery.warnings.empty());
  CHECK(files_of(folder.path(), ".seg").size() == segments);  // the new one comes with the first entry
  reopened.log->append(sample_record(8));
  CHECK(files_of(folder.path(), ".seg").size() == segments + 1);
  reopened.log->close();
  CHECK(slots_of(folder.path()) == first_slots(9));
  CHECK(check_log(folder.path()).damages.empty());
}

TEST_CASE("a log cut off at any byte of its last record goes on behind what stands before it, and the torn bytes are kept") {
  const FreeSyncs no_syncs;
  const OpenSegment left = unsealed_segment(2);
  for (std::size_t size = left.last; size <= left.bytes.size(); ++size) {
    INFO("cut at byte ", size);
    const TemporaryFolder folder;
    const std::string path = folder.file("q-000000000000.seg");
    store(path, {left.bytes.begin(), left.bytes.begin() + static_cast<std::ptrdiff_t>(size)});
    const bool is_whole = size == left.bytes.size(), is_torn = !is_whole && size > left.last;
    const LogRecovery recovery = go_on(folder.path(), is_whole ? 2 : 1);
    REQUIRE(recovery.warnings.size() == (is_torn ? 1 : 0));
    const auto kept = files_of(folder.path(), ".torn");
    REQUIRE(kept.size() == (is_torn ? 1 : 0));
    if (is_torn)
      CHECK(load(kept.front()) ==
            FileBytes(left.bytes.begin() + static_cast<std::ptrdiff_t>(left.last), left.bytes.begin() + static_cast<std::ptrdiff_t>(size)));
  }
}

TEST_CASE("a log cut off at any byte of its footer loses no entry") {
  const FreeSyncs no_syncs;
  const TemporaryFolder source;
  write_log(source.path(), 2);
  const FileBytes sealed = load(source.file("q-000000000000.seg"));
  const std::size_t end = unsealed_segment(2).bytes.size();
  for (std::size_t size = end; size <= sealed.size(); size += 7) {
    const TemporaryFolder folder;
    store(folder.file("q-000000000000.seg"), {sealed.begin(), sealed.begin() + static_cast<std::ptrdiff_t>(size)});
    go_on(folder.path(), 2);
  }
}

TEST_CASE("a footer that a full disk cuts short is cut off again, and the next attempt goes on") {
  const OpenSegment left = unsealed_segment(2);
  const TemporaryFolder folder;
  const std::string path = folder.file("q-000000000000.seg");
  store(path, left.bytes);
  {
    const ShortWrites few(100);
    const FailingCalls full(DiskCall::kWrite, ENOSPC, 1);
    check_error(
        ExitCode::kFailure, [&] { reopen(folder.path()); }, path, "disk is full");
  }
  CHECK(load(path) == left.bytes);
  go_on(folder.path(), 2);
}

TEST_CASE("sectors of the last record that were never written are cut off") {
  const OpenSegment left = unsealed_segment(2);
  for (const std::size_t first : {left.last, (left.last / 512 + 1) * 512}) {
    const TemporaryFolder folder;
    FileBytes bytes = left.bytes;
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(first), bytes.end(), '\0');
    store(folder.file("q-000000000000.seg"), bytes);
    CHECK(go_on(folder.path(), 1).warnings.size() == 1);
  }
  const TemporaryFolder folder;
  FileBytes longer = left.bytes;
  longer.resize(longer.size() + 4096);
  store(folder.file("q-000000000000.seg"), longer);
  CHECK(go_on(folder.path(), 2).warnings.size() == 1);
}

TEST_CASE("a segment whose header a crash left out is begun anew") {
  for (const std::size_t bytes : {0u, 13u, 64u, 4096u}) {
    const TemporaryFolder folder;
    write_log(folder.path(), 2);
    store(folder.file("q-000000000003.seg"), FileBytes(bytes, '\0'));
    go_on(folder.path(), 2);
  }
}

TEST_CASE("damage that no crash makes is refused with segment and byte, and nothing is changed") {
  const OpenSegment left = unsealed_segment(3);
  const std::size_t first = left.bytes.size() - 2 * (left.bytes.size() - left.last);
  const auto refused = [](const FileBytes& bytes) {
    const TemporaryFolder folder;
    const std::string path = folder.file("q-000000000000.seg");
    store(path, bytes);
    check_refused(folder.path(), path);
  };
  FileBytes bytes = left.bytes;
  bytes[first + 700] = static_cast<char>(bytes[first + 700] ^ 1);
  refused(bytes);  // a flipped bit before the last record
  bytes = left.bytes;
  bytes.insert(bytes.end(), left.bytes.begin() + static_cast<std::ptrdiff_t>(left.last), left.bytes.end());
  refused(bytes);  // the last record twice
  bytes = left.bytes;
  for (int i = 0; i < 640; ++i) bytes.push_back(static_cast<char>(i * 37 + 11));
  refused(bytes);  // garbage
  bytes = left.bytes;
  bytes[20] = static_cast<char>(bytes[20] ^ 1);
  refused(bytes);  // the header
  refused({bytes.begin(), bytes.begin() + 40});
}

TEST_CASE("a missing segment is refused") {
  const TemporaryFolder folder;
  write_log(folder.path(), 12, 4000);
  const auto segments = files_of(folder.path(), ".seg");
  std::filesystem::remove(segments[1]);
  check_error(
      ExitCode::kData, [&] { reopen(folder.path()); }, segments[2], "is expected");
}

TEST_CASE("sealed segments are believed by their footers, and only the last one is scanned") {
  const TemporaryFolder folder;
  write_log(folder.path(), 40, 8000);
  const auto segments = files_of(folder.path(), ".seg");
  REQUIRE(segments.size() > 4);
  std::uint64_t total = 0;
  for (const auto& segment : segments) total += std::filesystem::file_size(segment);
  FileBytes last = load(segments.back());
  const auto footer = find_footer(std::as_bytes(std::span(last)));
  REQUIRE(footer);
  last.resize(footer->offset);  // the process was killed before it sealed the segment
  store(segments.back(), last);
  // Damage inside a sealed segment is nobody's business here: that it goes unseen shows that nothing was read.
  FileBytes sealed = load(segments[1]);
  sealed[2000] = static_cast<char>(sealed[2000] ^ 1);
  store(segments[1], sealed);
  const LogRecovery recovery = reopen(folder.path()).recovery;
  CHECK(slots_in(recovery) == first_slots(40));
  CHECK(recovery.bytes_read >= last.size());
  CHECK(recovery.bytes_read < last.size() + 1024 * segments.size());
  CHECK(recovery.bytes_read < total / 2);
}

TEST_CASE("a tebibyte of sealed segments is opened without reading it") {
  const TemporaryFolder folder;
  constexpr std::uint64_t kSegments = 1024, kSegmentBytes = std::uint64_t{1} << 30;
  const TemporaryFolder source;
  write_log(source.path(), 0);
  const FileBytes first = load(source.file("q-000000000000.seg"));
  const std::uint64_t header_end = find_footer(std::as_bytes(std::span(first)))->offset;
  for (std::uint64_t i = 0; i < kSegments; ++i) {
    // A header, its entry, a hole, and the footer that speaks of one record in it.
    const std::string path = folder.file(segment_name(2 * i));
    SegmentSummary summary;
    std::vector<IndexEntry> index{{2 * i, 64, -1, BlockType::kHeader, 0, -1},
                                  {2 * i + 1, 4096, static_cast<std::int64_t>(i), BlockType::kRecord, 0, 0}};
    summary.base_seq = 2 * i;
    for (const auto& line : index) count_entry(summary, line);
    const Block footer = make_footer(summary, index);
    const BlockEnds ends = make_block_ends(footer);
    std::ofstream file(path, std::ios::binary);
    const SegmentHeader header = make_segment_header(kLogHeader.run_id, 2 * i, 0);
    file.write(reinterpret_cast<const char*>(header.data()), static_cast<std::streamsize>(header.size()));
    if (i == 0) file.write(first.data() + 64, static_cast<std::streamsize>(header_end - 64));
    file.seekp(static_cast<std::streamoff>(kSegmentBytes - footer.total_bytes()));
    for (const auto& piece : pieces_of(footer, ends))
      file.write(reinterpret_cast<const char*>(piece.data()), static_cast<std::streamsize>(piece.size()));
  }
  const auto start = std::chrono::steady_clock::now();
  const LogRecovery recovery = recover_log(folder.path());
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  CHECK(recovery.records.size() == kSegments);
  CHECK(recovery.next_seq == 2 * kSegments);
  CHECK(recovery.bytes_read < kSegments * 1024);
  CHECK(seconds < 1.0);
}

TEST_CASE("a log of another run or weights contract is not gone on with") {
  const TemporaryFolder folder;
  write_log(folder.path(), 1);
  check_error(
      ExitCode::kData,
      [&] {
        reopen(folder.path(), {"another run", "contract", ""});
      },
      folder.path(), "another run", kLogHeader.run_id);
  check_error(
      ExitCode::kData,
      [&] {
        reopen(folder.path(), {kLogHeader.run_id, "other", ""});
      },
      "contract", "other");
  check_error(
      ExitCode::kData, [&] { reopen(folder.file("absent")); }, "absent");
}

TEST_CASE("one process at a time appends to a log") {
  const TemporaryFolder folder;
  auto log = make_log(folder.path());
  check_error(
      ExitCode::kFailure, [&] { reopen(folder.path()); }, folder.path(), "another process");
  log.reset();
  CHECK(reopen(folder.path()).recovery.next_seq == 1);
}

TEST_CASE("what a killed process had acknowledged is in the log that goes on, twelve times over") {
  const TemporaryFolder folder;
  write_log(folder.path(), 0);
  std::int64_t acknowledged = 0;
  for (int round = 0; round < 12; ++round) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const pid_t child = ::fork();
    if (child == 0) append_until_killed(folder.path(), ends[1]);
    ::close(ends[1]);
    std::int64_t slot = 0;
    for (int i = 0; i < 5 + 3 * round; ++i) {
      REQUIRE(receive(ends[0], slot));
      acknowledged = slot + 1;
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    while (receive(ends[0], slot)) acknowledged = slot + 1;
    ::close(ends[0]);
  }
  reopen(folder.path());
  const auto slots = slots_of(folder.path());
  CHECK(static_cast<std::int64_t>(slots.size()) >= acknowledged);
  CHECK(slots == first_slots(static_cast<std::int64_t>(slots.size())));
  CHECK(check_log(folder.path()).damages.empty());
}

TEST_CASE("a power cut after any acknowledgement of the fsync level loses nothing that was acknowledged") {
  const FreeSyncs no_syncs;
  const TemporaryFolder folder;
  const SyncNotes notes;
  const auto log = make_log(folder.file("log"), 4000, Durability::kFsync);
  for (std::int64_t acknowledged = 0; acknowledged < 12; ++acknowledged) {
    const std::string left = folder.file("left-" + std::to_string(acknowledged));
    notes.copy_durable(folder.file("log"), left);
    CHECK(slots_in(reopen(left).recovery) == first_slots(acknowledged));
    CHECK(check_log(left).damages.empty());
    log->append(sample_record(acknowledged));
  }
}

}  // namespace nabla
