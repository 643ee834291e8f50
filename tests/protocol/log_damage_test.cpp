#include "protocol/log_format.h"
#include "protocol/trajectory_log.h"
#include "tests/common/error_check.h"
#include "tests/protocol/test_log.h"

#include <fstream>
#include <iterator>

namespace nabla {

namespace {

constexpr int kRecords = 3;

// Changes the one segment of a log and reads it again.
class DamagedLog {
 public:
  explicit DamagedLog(bool sealed) : path_(folder_.file("q-000000000000.seg")) {
    auto log = TrajectoryLog::create({folder_.path()}, kLogHeader);
    for (int slot = 0; slot < kRecords; ++slot) {
      last_ = sizeof_file();
      log->append(sample_record(slot));
    }
    const std::vector<char> open = load();
    log->close();
    bytes_ = sealed ? load() : open;
  }

  std::vector<char>& bytes() { return bytes_; }
  std::size_t last_record() const { return last_; }

  // Number of entries, or -1 where reading ends in a data_error that names the segment and a byte.
  int read(bool* warned = nullptr) {
    // In place: some file systems write a file that was emptied first to the disk at once.
    std::fstream(path_, std::ios::binary | std::ios::in | std::ios::out).write(bytes_.data(), static_cast<std::streamsize>(bytes_.size()));
    std::filesystem::resize_file(path_, bytes_.size());
    try {
      TrajectoryLogReader reader(folder_.path());
      int entries = 0;
      while (reader.next()) ++entries;
      if (warned != nullptr) *warned = !reader.warnings().empty();
      return entries;
    } catch (const Error& error) {
      CHECK(error.code() == ExitCode::kData);
      const std::string message = error.what();
      CHECK(message.find("q-000000000000.seg") != std::string::npos);
      CHECK(message.find("at byte ") != std::string::npos);
      return -1;
    }
  }

 private:
  std::vector<char> load() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::size_t sizeof_file() const { return std::filesystem::file_size(path_); }

  TemporaryFolder folder_;
  std::string path_;
  std::size_t last_ = 0;
  std::vector<char> bytes_;
};

}  // namespace

TEST_CASE("an undamaged log is read whole, sealed or not") {
  for (const bool sealed : {true, false}) {
    DamagedLog log(sealed);
    bool warned = true;
    CHECK(log.read(&warned) == 1 + kRecords);
    CHECK_FALSE(warned);
  }
}

TEST_CASE("a tail torn at any byte of the last record ends the log with a warning") {
  DamagedLog log(false);
  for (std::size_t size = log.bytes().size() - 1; size > log.last_record(); --size) {
    log.bytes().resize(size);
    bool warned = false;
    REQUIRE(log.read(&warned) == kRecords);
    REQUIRE(warned);
  }
  log.bytes().resize(log.last_record());
  bool warned = true;
  CHECK(log.read(&warned) == kRecords);
  CHECK_FALSE(warned);
}

TEST_CASE("sectors of the last record that were never written make a torn tail") {
  DamagedLog whole(false);
  const std::vector<char> good = whole.bytes();
  const std::size_t last = whole.last_record();
  // The record from some sector on; the whole record; zeros after a good end.
  for (const std::size_t first : {last, (last / 512 + 1) * 512}) {
    whole.bytes() = good;
    std::fill(whole.bytes().begin() + static_cast<std::ptrdiff_t>(first), whole.bytes().end(), '\0');
    bool warned = false;
    CHECK(whole.read(&warned) == kRecords);
    CHECK(warned);
  }
  whole.bytes() = good;
  whole.bytes().resize(good.size() + 4096);
  bool warned = false;
  CHECK(whole.read(&warned) == kRecords + 1);
  CHECK(warned);
}

TEST_CASE("a flipped byte anywhere in a sealed segment is found") {
  DamagedLog log(true);
  const std::vector<char> good = log.bytes();
  for (std::size_t i = 0; i < good.size(); ++i) {
    log.bytes()[i] = static_cast<char>(good[i] ^ 0x10);
    INFO("byte ", i);
    REQUIRE(log.read() == -1);
    log.bytes()[i] = good[i];
  }
}

TEST_CASE("zeros in the middle are corruption and not the end of the log") {
  DamagedLog log(true);
  auto& bytes = log.bytes();
  std::fill(bytes.begin() + 1024, bytes.begin() + 1536, '\0');
  CHECK(log.read() == -1);
}

TEST_CASE("a duplicated tail and a garbage tail are refused") {
  DamagedLog log(false);
  const std::vector<char> good = log.bytes();
  log.bytes().insert(log.bytes().end(), good.begin() + static_cast<std::ptrdiff_t>(log.last_record()), good.end());
  CHECK(log.read() == -1);
  log.bytes() = good;
  for (int i = 0; i < 640; ++i) log.bytes().push_back(static_cast<char>(i * 37 + 11));
  CHECK(log.read() == -1);
}

TEST_CASE("bytes behind the footer are refused") {
  DamagedLog log(true);
  log.bytes().resize(log.bytes().size() + 64, 'x');
  CHECK(log.read() == -1);
}

TEST_CASE("a header whose checksum fits but whose lengths lie is refused without reading past the file") {
  Block block;
  const std::string text = "frame";
  block.frames[0] = {nullptr, std::as_bytes(std::span(text))};
  block.seq = 5;
  const BlockEnds ends = make_block_ends(block);
  std::vector<std::byte> file;
  for (const auto& piece : pieces_of(block, ends)) file.insert(file.end(), piece.begin(), piece.end());
  CHECK(file.size() == block.total_bytes());
  CHECK(check_block(file, 0, 4).state == BlockState::kCorrupt);

  // A block that claims frames far longer than itself, with a checksum made for the lie.
  Block liar = block;
  liar.frames[0].view = {file.data(), std::size_t{1} << 40};
  auto lying = make_block_ends(liar);
  std::vector<std::byte> lie(lying.header.begin(), lying.header.end());
  lie.resize(128);
  CHECK(check_block(lie, 0, 5).state == BlockState::kTorn);
}

TEST_CASE("only complete segments may be followed by another one") {
  const TemporaryFolder folder;
  auto log = TrajectoryLog::create({folder.path(), Durability::kPageCache, 4096}, kLogHeader);
  for (std::int64_t slot = 0; slot < 12; ++slot) log->append(sample_record(slot));
  log->close();
  const std::string first = folder.file("q-000000000000.seg");
  // A footer that is cut off costs nothing: the next segment begins with the next number.
  std::filesystem::resize_file(first, std::filesystem::file_size(first) - 100);
  CHECK(slots_of(folder.path(), 1) == first_slots(12));
  std::filesystem::resize_file(first, std::filesystem::file_size(first) - 1000);
  check_error(
      ExitCode::kData,
      [&] {
        TrajectoryLogReader reader(folder.path());
        while (reader.next()) {
        }
      },
      first, "at byte");
}

TEST_CASE("a segment of another run is refused") {
  const TemporaryFolder folder, other;
  for (const auto& [place, run] : {std::pair(&folder, "run-a"), std::pair(&other, "run-b")}) {
    auto log = TrajectoryLog::create({place->path(), Durability::kPageCache, 1}, {run, "", ""});
    for (std::int64_t slot = 0; slot < 3; ++slot) log->append(sample_record(slot));
    log->close();
  }
  std::string second;
  for (const auto& file : std::filesystem::directory_iterator(other.path())) second = std::max(second, file.path().filename().string());
  std::filesystem::copy_file(other.file(second), folder.file(second), std::filesystem::copy_options::overwrite_existing);
  check_error(
      ExitCode::kData,
      [&] {
        TrajectoryLogReader reader(folder.path());
        while (reader.next()) {
        }
      },
      second, "another run");
}

}  // namespace nabla
