#include "protocol/log_merge.h"

#include "protocol/log_check.h"
#include "tests/common/error_check.h"
#include "tests/protocol/test_log.h"

namespace nabla {

namespace {

constexpr std::int64_t kRankUpdates = 3, kRankSlots = 4;

EncodedRecord ranked_record(std::int64_t slot, const std::string& actor) {
  RecordHeader header = sample_header(slot);
  header.update = slot / kRankSlots;
  header.version = header.update;
  header.actor_id = actor;
  header.reward = static_cast<double>(slot);
  header.prompt = slot % 2 == 0 ? "a red circle" : "a blue star";
  return encode_record(header, sample_tensors());
}

// The log of a rank that owns slots [begin, end) of each update, in reverse order.
void write_rank(const std::string& folder, std::int64_t begin, std::int64_t end, const LogHeader& header = kLogHeader,
                const std::string& digest = "digest") {
  const auto log = TrajectoryLog::create({folder}, header);
  log->append(PublishEntry{0, digest});
  for (std::int64_t update = 0; update < kRankUpdates; ++update) {
    std::vector<std::int64_t> slots;
    for (std::int64_t i = end - 1; i >= begin; --i) {
      const std::int64_t slot = update * kRankSlots + i;
      if (slot == 6) {
        log->append(DiscardEntry{slot, update, "non_finite: x"});
        continue;
      }
      log->append(ranked_record(slot, begin == 0 ? "a" : "b"));
      slots.insert(slots.begin(), slot);
    }
    log->append(TrainedEntry{update, slots});
    log->append(PublishEntry{update + 1, digest});
  }
  log->close();
}

// One word an entry: r7 (record), d7 (discard), p2 (published), t1:4 (update 1 trained on 4 slots).
std::string course_of(const std::string& folder) {
  TrajectoryLogReader reader(folder);
  std::string course;
  while (const auto entry = reader.next()) {
    if (std::holds_alternative<EncodedRecord>(*entry)) course += fmt::format("r{} ", slot_of(*entry));
    if (const auto* publish = std::get_if<PublishEntry>(&*entry)) course += fmt::format("p{} ", publish->version);
    if (const auto* discard = std::get_if<DiscardEntry>(&*entry)) course += fmt::format("d{} ", discard->slot);
    if (const auto* trained = std::get_if<TrainedEntry>(&*entry)) course += fmt::format("t{}:{} ", trained->update, trained->slots.size());
  }
  return course;
}

}  // namespace

TEST_CASE("the logs of a run's ranks become the log of the run, in slot order") {
  const TemporaryFolder folder;
  write_rank(folder.file("rank-0"), 0, 2);
  write_rank(folder.file("rank-1"), 2, 4);
  const LogMerge merge = merge_logs({folder.file("rank-1"), folder.file("rank-0")}, folder.file("out"), {});
  CHECK(merge.is_run);
  CHECK(merge.records == 11);
  CHECK(merge.discards == 1);
  CHECK(merge.updates == 3);
  CHECK(merge.duplicates == 0);
  CHECK(course_of(folder.file("out")) == "p0 r0 r1 r2 r3 t0:4 p1 r4 r5 r7 d6 t1:3 p2 r8 r9 r10 r11 t2:4 p3 ");
  TrajectoryLogReader reader(folder.file("out"));
  CHECK(std::get<LogHeader>(*reader.next()).weights_contract == kLogHeader.weights_contract);
  CHECK(check_log(folder.file("out")).damages.empty());
}

TEST_CASE("records that several logs hold are taken once, of the first") {
  const TemporaryFolder folder;
  write_rank(folder.file("one"), 0, 4);
  write_rank(folder.file("two"), 2, 4);
  const LogMerge merge = merge_logs({folder.file("one"), folder.file("two")}, folder.file("out"), {});
  CHECK(merge.records == 11);
  CHECK(merge.duplicates == 5);
}

TEST_CASE("a filtered log holds the records that pass, and is no run's") {
  const TemporaryFolder folder;
  write_rank(folder.file("rank-0"), 0, 2);
  write_rank(folder.file("rank-1"), 2, 4);
  const std::vector<std::string> logs{folder.file("rank-0"), folder.file("rank-1")};
  const auto filtered = [&](const std::string& name, const RecordFilter& filter) {
    const LogMerge merge = merge_logs(logs, folder.file(name), filter);
    CHECK_FALSE(merge.is_run);
    CHECK(merge.records + merge.left_out == 11);
    TrajectoryLogReader reader(folder.file(name));
    CHECK(std::get<LogHeader>(*reader.next()).weights_contract == "part of contract");
    return slots_of(folder.file(name));
  };
  using Slots = std::vector<std::int64_t>;
  RecordFilter filter;
  filter.rewards = Range<double>{.low = 9.0};
  CHECK(filtered("rewards", filter) == Slots{9, 10, 11});
  filter.actor = "a";
  CHECK(filtered("both", filter) == Slots{9});
  filter = {};
  filter.versions = Range<std::int64_t>{1, 1};
  CHECK(filtered("versions", filter) == Slots{4, 5, 7});
  filter = {};
  filter.prompt = "star";
  CHECK(filtered("prompt", filter) == Slots{1, 3, 5, 7, 9, 11});
  filter.slots = Range<std::int64_t>{4, 8};
  CHECK(filtered("slots", filter) == Slots{5, 7});
  filter = {};
  filter.actor = "nobody";
  check_error(
      ExitCode::kData, [&] { merge_logs(logs, folder.file("none"), filter); }, "none of the 11 records");
}

TEST_CASE("logs of other runs, contracts or courses of training are refused") {
  const TemporaryFolder folder;
  write_rank(folder.file("one"), 0, 2);
  write_rank(folder.file("run"), 2, 4, {"another run", "contract", ""});
  write_rank(folder.file("contract"), 2, 4, {kLogHeader.run_id, "other", ""});
  write_rank(folder.file("course"), 2, 4, kLogHeader, "another digest");
  for (const std::string other : {"run", "contract", "course"}) {
    check_error(
        ExitCode::kData,
        [&] {
          merge_logs({folder.file("one"), folder.file(other)}, folder.file("out"), {});
        },
        folder.file(other));
    CHECK_FALSE(std::filesystem::exists(folder.file("out")));
  }
  check_error(
      ExitCode::kFailure, [&] { merge_logs({folder.file("one")}, folder.file("one"), {}); }, "holds a trajectory log already");
}

}  // namespace nabla
