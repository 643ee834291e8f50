#include "protocol/trajectory_log.h"

#include "common/files.h"
#include "tests/common/error_check.h"
#include "tests/common/small_disk.h"
#include "tests/protocol/test_log.h"

#include <algorithm>
#include <filesystem>
#include <thread>

namespace nabla {

namespace {

std::vector<LogEntry> read_all(const std::string& folder) {
  TrajectoryLogReader reader(folder);
  std::vector<LogEntry> entries;
  while (auto entry = reader.next()) entries.push_back(std::move(*entry));
  CHECK(reader.warnings().empty());
  return entries;
}

}  // namespace

TEST_CASE("entries of every kind come back in order, at every durability") {
  for (const Durability durability : {Durability::kMemory, Durability::kPageCache, Durability::kFsync}) {
    const TemporaryFolder folder;
    auto log = TrajectoryLog::create({folder.file("rank-0"), durability}, kLogHeader);
    log->append(PublishEntry{0, "digest-0"});
    log->append(sample_record(4));
    log->append(DiscardEntry{5, 1, "non_finite"});
    log->append(sample_record(6));
    log->append(TrainedEntry{1, {4, 6}});
    log->close();
    const auto entries = read_all(folder.file("rank-0"));
    REQUIRE(entries.size() == 6);
    CHECK(std::get<LogHeader>(entries[0]).run_id == kLogHeader.run_id);
    CHECK(std::get<LogHeader>(entries[0]).config == kLogHeader.config);
    CHECK(std::get<PublishEntry>(entries[1]).digest == "digest-0");
    CHECK(slot_of(entries[2]) == 4);
    CHECK(std::get<DiscardEntry>(entries[3]).reason == "non_finite");
    CHECK(slot_of(entries[4]) == 6);
    CHECK(std::get<TrainedEntry>(entries[5]).slots == std::vector<std::int64_t>{4, 6});
  }
}

TEST_CASE("a stored record is the received one, bit for bit, with the actor's checksums") {
  const TemporaryFolder folder;
  const EncodedRecord sent = sample_record();
  auto log = TrajectoryLog::create({folder.path()}, kLogHeader);
  log->append(sent);
  log->close();
  const auto entries = read_all(folder.path());
  const auto& kept = std::get<EncodedRecord>(entries.at(1));
  CHECK(copy_of(kept.header) == copy_of(sent.header));
  CHECK(copy_of(kept.data) == copy_of(sent.data));
  CHECK(kept.header_crc32c == sent.header_crc32c);
  CHECK(kept.data_crc32c == sent.data_crc32c);
  CHECK(reinterpret_cast<std::uintptr_t>(kept.data.view.data()) % 64 == 0);
}

TEST_CASE("a record outlives the reader it came from") {
  const TemporaryFolder folder;
  auto log = TrajectoryLog::create({folder.path()}, kLogHeader);
  log->append(sample_record(9));
  log->close();
  const auto entries = read_all(folder.path());
  CHECK(slot_of(entries.at(1)) == 9);
}

TEST_CASE("an appended entry can be read while the log is open") {
  const TemporaryFolder folder;
  auto log = TrajectoryLog::create({folder.path()}, kLogHeader);
  CHECK(read_all(folder.path()).size() == 1);
  log->append(sample_record(1));
  CHECK(read_all(folder.path()).size() == 2);
}

TEST_CASE("a log goes on in new segments when one is full, and every full one is sealed") {
  const TemporaryFolder folder;
  auto log = TrajectoryLog::create({folder.path(), Durability::kPageCache, 4096}, kLogHeader);
  for (std::int64_t slot = 0; slot < 20; ++slot) log->append(sample_record(slot));
  log->close();
  const auto segments = files_of(folder.path(), ".seg");
  CHECK(segments.size() > 2);
  CHECK(segments[0].ends_with("q-000000000000.seg"));
  for (const auto& segment : segments) CHECK(std::filesystem::file_size(segment) <= 4096 + 2048);
  const auto entries = read_all(folder.path());
  REQUIRE(entries.size() == 21);
  for (std::int64_t slot = 0; slot < 20; ++slot) CHECK(slot_of(entries[static_cast<std::size_t>(slot) + 1]) == slot);
}

TEST_CASE("a missing segment is noticed") {
  const TemporaryFolder folder;
  auto log = TrajectoryLog::create({folder.path(), Durability::kPageCache, 4096}, kLogHeader);
  for (std::int64_t slot = 0; slot < 20; ++slot) log->append(sample_record(slot));
  log->close();
  std::filesystem::remove(files_of(folder.path(), ".seg")[1]);
  check_error(
      ExitCode::kData, [&] { read_all(folder.path()); }, "a segment is missing");
}

TEST_CASE("threads that append at once each get their entry into the log") {
  const TemporaryFolder folder;
  auto log = TrajectoryLog::create({folder.path(), Durability::kPageCache, 16384}, kLogHeader);
  std::vector<std::thread> threads;
  for (std::int64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::int64_t i = 0; i < 25; ++i) log->append(sample_record(100 * t + i));
    });
  }
  for (auto& thread : threads) thread.join();
  log->close();
  std::vector<std::int64_t> slots;
  for (const auto& entry : read_all(folder.path())) {
    if (std::holds_alternative<EncodedRecord>(entry)) slots.push_back(slot_of(entry));
  }
  CHECK(slots.size() == 100);
  // The entries of one thread keep their order.
  for (std::size_t i = 0; i < slots.size(); ++i) {
    for (std::size_t j = i + 1; j < slots.size(); ++j) {
      if (slots[i] / 100 == slots[j] / 100) REQUIRE(slots[i] < slots[j]);
    }
  }
}

TEST_CASE("a folder that holds a log is not written over") {
  const TemporaryFolder folder;
  TrajectoryLog::create({folder.path()}, kLogHeader)->close();
  check_error(
      ExitCode::kFailure, [&] { TrajectoryLog::create({folder.path()}, kLogHeader); }, folder.path(), "holds a trajectory log already");
}

TEST_CASE("a folder without a log is named") {
  const TemporaryFolder folder;
  check_error(
      ExitCode::kData, [&] { TrajectoryLogReader reader(folder.path()); }, folder.path(), "no trajectory log");
  check_error(
      ExitCode::kData, [&] { TrajectoryLogReader reader(folder.file("absent")); }, "absent");
}

TEST_CASE("a full disk fails the append, keeps what was acknowledged and poisons the log") {
  for (const std::uint64_t room : {3000u, 4096u, 4100u, 5000u}) {
    const TemporaryFolder folder;
    auto log = TrajectoryLog::create({folder.path()}, kLogHeader);
    std::int64_t acknowledged = 0;
    {
      const FileSizeLimit full(room);
      check_error(
          ExitCode::kFailure,
          [&] {
            for (; acknowledged < 100; ++acknowledged) log->append(sample_record(acknowledged));
          },
          "q-000000000000.seg", "disk is full");
    }
    REQUIRE(acknowledged < 100);
    // Room again: the log stays shut, since nobody knows what the failed write left.
    check_error(
        ExitCode::kFailure,
        [&] {
          log->append(PublishEntry{1, "d"});
        },
        "q-000000000000.seg", "disk is full");
    const auto entries = read_all(folder.path());
    CHECK(static_cast<std::int64_t>(entries.size()) == acknowledged + 1);
  }
}

TEST_CASE("a full disk at any point of sealing a segment and starting the next keeps what was acknowledged") {
  for (std::uint64_t room = 24; room < 64; room += 4) {
    on_small_disk(room * 1024, [&](const std::string& folder) {
      auto log = TrajectoryLog::create({folder, Durability::kPageCache, 6000}, kLogHeader);
      std::int64_t acknowledged = 0;
      check_error(
          ExitCode::kFailure,
          [&] {
            for (; acknowledged < 1000; ++acknowledged) log->append(sample_record(acknowledged));
          },
          folder, "disk is full");
      log.reset();
      TrajectoryLogReader reader(folder);
      std::int64_t entries = 0;
      while (reader.next()) ++entries;
      CHECK(entries == acknowledged + 1);
    });
  }
}

TEST_CASE("a folder that cannot be made is named") {
  const TemporaryFolder folder;
  write_file(folder.file("file"), "x");
  check_error(
      ExitCode::kFailure, [&] { TrajectoryLog::create({folder.file("file/queue")}, kLogHeader); }, "file/queue");
}

TEST_CASE("a record that was not validated is not appended") {
  const TemporaryFolder folder;
  auto log = TrajectoryLog::create({folder.path()}, kLogHeader);
  EncodedRecord bad = sample_record();
  bad.header = own({std::byte{1}});
  check_error(
      ExitCode::kData, [&] { log->append(bad); }, "not validated");
  log->append(sample_record());
  log->close();
  CHECK(read_all(folder.path()).size() == 2);
  check_error(
      ExitCode::kFailure, [&] { log->append(sample_record()); }, "closed");
}

TEST_CASE("the durability levels have names") {
  CHECK(durability_from_name("memory") == Durability::kMemory);
  CHECK(durability_from_name("pagecache") == Durability::kPageCache);
  CHECK(durability_from_name("fsync") == Durability::kFsync);
  check_error(
      ExitCode::kUsage, [] { durability_from_name("disk"); }, "'disk'", "memory | pagecache | fsync");
}

}  // namespace nabla
