#include "protocol/log_check.h"

#include "protocol/segment_footer.h"
#include "protocol/segment_scan.h"
#include "tests/common/error_check.h"
#include "tests/protocol/test_log.h"

#include <random>
#include <set>

namespace nabla {

namespace {

std::string first_segment(const std::string& folder) { return files_of(folder, ".seg").front(); }

Footer footer_in(const FileBytes& bytes) {
  const auto footer = find_footer(std::as_bytes(std::span(bytes)));
  REQUIRE(footer);
  return *footer;
}

// A sealed segment in memory whose bits are flipped one at a time.
class FlippedSegment {
 public:
  FlippedSegment() {
    const TemporaryFolder folder;
    write_log(folder.path(), kRecords);
    bytes_ = load(first_segment(folder.path()));
    const Footer footer = footer_in(bytes_);
    for (const IndexEntry& line : footer.index) begins_.push_back(line.offset);
    begins_.push_back(footer.offset);
  }

  // The flip must be seen, cost the entry that it hit, and leave all others.
  void check_flip(std::size_t bit) {
    flip(bit);
    const std::size_t hit = entry_at(bit / 8);
    const auto file = std::as_bytes(std::span(bytes_));
    const bool header_is_sound = !check_segment_header(file).fault;
    const SegmentScan scan = scan_segment(file, 0);
    INFO("bit ", bit, " of entry ", hit);
    REQUIRE((bit / 8 < kSegmentHeaderBytes) == !header_is_sound);
    REQUIRE((scan.faults.empty() ? 0 : 1) == (header_is_sound ? 1 : 0));
    std::set<std::uint64_t> read;
    for (const ScannedBlock& entry : scan.entries) read.insert(entry.block.seq);
    const bool hit_entry = header_is_sound && hit <= kRecords;  // neither the segment's header nor its footer
    REQUIRE(read.size() == kRecords + 1 - (hit_entry ? 1 : 0));
    REQUIRE(read.contains(hit) == (hit <= kRecords && !hit_entry));
    if (hit_entry) {
      REQUIRE(scan.faults.front().first_seq == hit);
      REQUIRE(scan.faults.front().end_seq == hit + 1);
      REQUIRE(scan.faults.front().begin == begins_[hit]);
    }
    flip(bit);
  }

  std::size_t num_bits() const { return 8 * bytes_.size(); }

  static constexpr std::size_t kRecords = 4;

 private:
  void flip(std::size_t bit) { bytes_[bit / 8] = static_cast<char>(bytes_[bit / 8] ^ (1 << (bit % 8))); }

  // kRecords + 1 for the footer; the header's bytes count as of entry 0.
  std::size_t entry_at(std::size_t byte) const {
    const auto behind = std::ranges::upper_bound(begins_, byte);
    return behind == begins_.begin() ? 0 : static_cast<std::size_t>(behind - begins_.begin()) - 1;
  }

  FileBytes bytes_;
  std::vector<std::uint64_t> begins_;
};

}  // namespace

TEST_CASE("a whole log is found whole") {
  const TemporaryFolder folder;
  write_log(folder.path(), 10, 4000);
  const LogCheck check = check_log(folder.path());
  CHECK(check.damages.empty());
  CHECK(check.warnings.empty());
  CHECK(check.records == 10);
  CHECK(check.segments == files_of(folder.path(), ".seg").size());
  CHECK(check.entries == check.records + check.segments);  // every segment begins with the header
}

TEST_CASE("each of ten thousand flipped bits of a sealed segment is found, and costs the entry that it hit alone") {
  FlippedSegment segment;
  std::mt19937 random(5);
  for (int i = 0; i < 10000; ++i) segment.check_flip(random() % segment.num_bits());
}

TEST_CASE("salvage copies all entries but the damaged one, says which slot was lost, and leaves the log as it is") {
  const TemporaryFolder folder, target;
  write_log(folder.path(), 12, 5000);
  const auto segments = files_of(folder.path(), ".seg");
  REQUIRE(segments.size() > 2);
  const FileBytes whole = load(segments[1]);
  const Footer footer = footer_in(whole);
  for (std::size_t line = 1; line < footer.index.size(); ++line) {
    FileBytes bytes = whole;
    const std::uint64_t place = footer.index[line].offset + 10 + 100 * line;  // the header of the block, or its frames
    bytes[place] = static_cast<char>(bytes[place] ^ 4);
    store(segments[1], bytes);
    const std::string out = target.file("out-" + std::to_string(line));
    const LogSalvage salvage = salvage_log(folder.path(), out);
    REQUIRE(salvage.found.damages.size() == 1);
    const LogDamage& damage = salvage.found.damages.front();
    CHECK(damage.segment == segments[1]);
    CHECK(damage.begin == footer.index[line].offset);
    CHECK(damage.slots == std::vector<std::int64_t>{footer.index[line].slot});
    CHECK(salvage.copied == 11);
    CHECK_FALSE(salvage.header_lost);
    auto expected = first_slots(12);
    std::erase(expected, footer.index[line].slot);
    CHECK(slots_of(out) == expected);
    CHECK(check_log(out).damages.empty());
    CHECK(load(segments[1]) == bytes);
  }
}

TEST_CASE("salvage goes on behind damage in a segment that was never sealed") {
  const TemporaryFolder folder, target;
  const std::string segment = folder.file("q-000000000000.seg");
  FileBytes bytes;
  std::vector<std::size_t> begins;
  {
    const auto log = make_log(folder.path());
    for (std::int64_t slot = 0; slot < 4; ++slot) {
      begins.push_back(std::filesystem::file_size(segment));
      log->append(sample_record(slot));
    }
    bytes = load(segment);
  }
  bytes[begins[1] + 3] = static_cast<char>(bytes[begins[1] + 3] ^ 1);      // the magic of record 1
  bytes[begins[2] + 200] = static_cast<char>(bytes[begins[2] + 200] ^ 1);  // a frame of record 2
  bytes.resize(bytes.size() - 3);                                          // the last one is torn
  store(segment, bytes);
  const LogSalvage salvage = salvage_log(folder.path(), target.file("out"));
  CHECK(slots_of(target.file("out")) == first_slots(1));
  REQUIRE(salvage.found.damages.size() == 1);
  CHECK(salvage.found.damages.front().begin == begins[1]);
  CHECK(salvage.found.damages.front().first_seq == 2);
  CHECK(salvage.found.damages.front().end_seq == 5);
}

TEST_CASE("salvage makes a header up where the only one was lost, and says so") {
  const TemporaryFolder folder, target;
  write_log(folder.path(), 3);
  FileBytes bytes = load(first_segment(folder.path()));
  bytes[150] = static_cast<char>(bytes[150] ^ 1);
  store(first_segment(folder.path()), bytes);
  const LogSalvage salvage = salvage_log(folder.path(), target.file("out"));
  CHECK(salvage.header_lost);
  TrajectoryLogReader reader(target.file("out"));
  const auto header = reader.next();
  CHECK(std::get<LogHeader>(*header).run_id == kLogHeader.run_id);
  CHECK(std::get<LogHeader>(*header).weights_contract.empty());
  CHECK(slots_of(target.file("out")) == first_slots(3));
}

TEST_CASE("a footer that lies about its entries is found") {
  const TemporaryFolder folder;
  write_log(folder.path(), 3);
  const FileBytes whole = load(first_segment(folder.path()));
  const Footer truth = footer_in(whole);
  const auto check_lie = [&](auto change, const std::string& reason) {
    Footer lie = truth;
    change(lie);
    FileBytes bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(truth.offset));
    const Block block = make_footer(lie.summary, lie.index);
    const BlockEnds ends = make_block_ends(block);
    for (const auto& piece : pieces_of(block, ends))
      for (const std::byte byte : piece) bytes.push_back(static_cast<char>(byte));
    store(first_segment(folder.path()), bytes);
    const LogCheck check = check_log(folder.path());
    REQUIRE(check.damages.size() == 1);
    CHECK(check.damages.front().reason.find(reason) != std::string::npos);
    CHECK(check.damages.front().begin == truth.offset);
  };
  check_lie([](Footer& footer) { footer.summary.digest[0] = footer.summary.digest[0] == '0' ? '1' : '0'; }, "digest");
  check_lie([](Footer& footer) { footer.summary.num_records = 2; }, "counts");
  check_lie([](Footer& footer) { footer.index[2].slot = 77; }, "line 2");
  check_lie([](Footer& footer) { footer.index[2].version = 77; }, "line 2");
}

TEST_CASE("a torn tail is a warning, and what follows a sealed segment is damage") {
  const TemporaryFolder folder;
  write_log(folder.path(), 3);
  const FileBytes whole = load(first_segment(folder.path()));
  FileBytes bytes = whole;
  bytes.resize(bytes.size() - 1);
  store(first_segment(folder.path()), bytes);
  LogCheck check = check_log(folder.path());
  CHECK(check.damages.empty());
  CHECK(check.warnings.size() == 1);
  bytes = whole;
  bytes.resize(bytes.size() + 64, 'x');
  store(first_segment(folder.path()), bytes);
  check = check_log(folder.path());
  REQUIRE(check.damages.size() == 1);
  CHECK(check.records == 3);
}

TEST_CASE("missing segments and those of another run are named, and the others are read") {
  const TemporaryFolder folder, other;
  write_log(folder.path(), 12, 5000);
  LogHeader other_run = kLogHeader;
  other_run.run_id.back() = 'e';
  write_log(other.path(), 12, 5000, other_run);
  const auto segments = files_of(folder.path(), ".seg");
  const std::size_t records = check_log(folder.path()).records;
  std::filesystem::remove(segments[1]);
  LogCheck check = check_log(folder.path());
  REQUIRE(check.damages.size() == 1);
  CHECK(check.damages.front().segment == segments[0]);
  CHECK(check.damages.front().reason.find("missing before the next segment") != std::string::npos);
  CHECK(check.damages.front().end_seq - check.damages.front().first_seq > 1);
  CHECK(check.records < records);
  CHECK(check.records > 0);
  std::filesystem::copy_file(files_of(other.path(), ".seg")[1], segments[1]);
  check = check_log(folder.path());
  REQUIRE(check.damages.size() == 1);
  CHECK(check.damages.front().segment == segments[1]);
  CHECK(check.damages.front().reason.find("belongs to another run") != std::string::npos);
  CHECK(check.records == records);
  check_error(
      ExitCode::kData, [&] { check_log(folder.file("absent")); }, "absent");
}

TEST_CASE("bytes of a record that look like an entry do not lead salvage astray") {
  // A record whose tensor holds a whole block of a far entry, in a segment that was never sealed.
  Block fake;
  const std::string text = "frame";
  fake.type = BlockType::kPublish;
  fake.seq = 1000000;
  fake.frames[0] = {nullptr, std::as_bytes(std::span(text))};
  const BlockEnds ends = make_block_ends(fake);
  std::vector<std::byte> inner;
  for (const auto& piece : pieces_of(fake, ends)) inner.insert(inner.end(), piece.begin(), piece.end());
  const TensorSource hostile{DType::kU8, {static_cast<std::int64_t>(inner.size())}, inner};
  const auto values = sample_values();
  const TensorSource honest{DType::kF32, {2, 1, 2, 3}, std::as_bytes(std::span(values))};
  const TemporaryFolder folder, target;
  const std::string segment = folder.file("q-000000000000.seg");
  std::size_t begin = 0;
  FileBytes bytes;
  {
    const auto log = make_log(folder.path());
    begin = std::filesystem::file_size(segment);
    log->append(encode_record(sample_header(0), pack_tensors({{"x", honest}, {"y", honest}, {"z", hostile}})));
    log->append(sample_record(1));
    bytes = load(segment);
  }
  bytes[begin] = static_cast<char>(bytes[begin] ^ 1);
  store(segment, bytes);
  salvage_log(folder.path(), target.file("out"));
  CHECK(slots_of(target.file("out")) == std::vector<std::int64_t>{1});
}

}  // namespace nabla
