#include "tests/chaos/byte_faults.h"

#include "common/error.h"
#include "learner/version_journal.h"
#include "protocol/log_check.h"
#include "protocol/trajectory_log.h"
#include "tests/chaos/fake_record.h"
#include "tests/common/temporary_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <random>
#include <vector>

namespace nabla::chaos {

namespace {

namespace fs = std::filesystem;

const LogHeader kHeader{kRunId, "chaos-contract", "{}"};

// Records of one honest actor with the first weights.
class Records {
 public:
  explicit Records(std::vector<std::int64_t> latent_shape) : plan_(plan_of(shape_)), rules_(rules_of(shape_)) {
    rules_.latent_shape = std::move(latent_shape);
  }
  EncodedRecord make(std::int64_t slot) const {
    const std::string digest = digest_of_weights(first_weights(shape_));
    return fake_record(shape_, rules_, plan_, slot, {"a", 0, digest, digest, slot});
  }
  const SlotPlan& plan() const { return plan_; }
  const RecordRules& rules() const { return rules_; }
  const Shape& shape() const { return shape_; }

 private:
  Shape shape_;
  SlotPlan plan_;
  RecordRules rules_;
};

void miss(ByteFaults& faults, const std::string& what) {
  if (faults.missed++ == 0) faults.first_miss = what;
}

Bytes copy_of(const Bytes& bytes) {
  const auto copy = std::make_shared<std::vector<std::byte>>(bytes.view.begin(), bytes.view.end());
  return {copy, *copy};
}

// Of header, tensors and their checksums, as one run of bits.
struct FlippedRecord {
  EncodedRecord record;
  explicit FlippedRecord(const EncodedRecord& sent)
      : record{copy_of(sent.header), copy_of(sent.data), sent.header_crc32c, sent.data_crc32c} {}
  std::size_t bits() const { return 8 * (record.header.view.size() + record.data.view.size() + 8); }
  void flip(std::size_t bit) {
    std::size_t byte = bit / 8;
    const auto mask = static_cast<std::byte>(1U << (bit % 8));
    for (const Bytes* bytes : {&record.header, &record.data}) {
      if (byte < bytes->view.size()) {
        const_cast<std::byte*>(bytes->view.data())[byte] ^= mask;
        return;
      }
      byte -= bytes->view.size();
    }
    std::uint32_t& checksum = byte < 4 ? record.header_crc32c : record.data_crc32c;
    checksum ^= static_cast<std::uint32_t>(mask) << (8 * (byte % 4));
  }
};

std::size_t entries_in(const std::string& folder, std::size_t& warnings) {
  TrajectoryLogReader reader(folder);
  std::size_t entries = 0;
  while (reader.next()) ++entries;
  warnings = reader.warnings().size();
  return entries;
}

}  // namespace

ByteFaults flip_record_bits(std::int64_t tries, std::uint64_t seed) {
  const Records records({2, 4, 4});
  VersionJournal journal;
  journal.publish(0, digest_of_weights(first_weights(records.shape())));
  const RecordValidator validator(records.rules(), records.plan(), journal);
  const EncodedRecord sent = records.make(3);
  ByteFaults faults;
  if (validator.validate(sent).reject != Reject::kNone) miss(faults, "the undamaged record is refused");
  FlippedRecord flipped(sent);
  std::mt19937_64 random(seed);
  for (; faults.tries < tries; ++faults.tries) {
    // Every other one a burst of neighbours.
    const std::size_t count = 1 + random() % 8, first = random() % (flipped.bits() - 8);
    std::vector<std::size_t> bits{first};
    for (std::size_t i = 1; i < count; ++i) bits.push_back(faults.tries % 2 == 0 ? first + i : random() % flipped.bits());
    std::ranges::sort(bits);
    bits.erase(std::ranges::unique(bits).begin(), bits.end());
    for (const auto bit : bits) flipped.flip(bit);
    if (validator.validate(flipped.record).reject == Reject::kNone) miss(faults, fmt::format("{} bits from bit {} on", bits.size(), first));
    for (const auto bit : bits) flipped.flip(bit);
  }
  return faults;
}

ByteFaults tear_long_tail(std::int64_t tries, std::uint64_t seed) {
  const TemporaryFolder folder, torn;
  const auto log = TrajectoryLog::create({folder.path()}, kHeader);
  log->append(Records({2, 4, 4}).make(0));
  const std::string source = folder.file("q-000000000000.seg"), target = torn.file("q-000000000000.seg");
  const std::uintmax_t begin = fs::file_size(source);
  log->append(Records({4, 64, 128}).make(1));
  const std::uintmax_t end = fs::file_size(source);
  fs::copy_file(source, target);
  std::mt19937_64 random(seed);
  std::vector<std::uintmax_t> sizes(static_cast<std::size_t>(tries));
  for (auto& size : sizes) size = begin + 1 + random() % (end - begin - 1);
  // From behind, so that each is a cut of the one before.
  std::ranges::sort(sizes, std::greater());
  ByteFaults faults;
  for (const auto size : sizes) {
    ++faults.tries;
    fs::resize_file(target, size);
    try {
      std::size_t warnings = 0;
      if (entries_in(torn.path(), warnings) != 2 || warnings != 1) miss(faults, fmt::format("cut to {} bytes", size));
    } catch (const Error& error) {
      miss(faults, fmt::format("cut to {} bytes: {}", size, error.what()));
    }
  }
  return faults;
}

ByteFaults rot_sealed_segment(std::int64_t tries, std::uint64_t seed) {
  constexpr std::int64_t kRecords = 24;
  const TemporaryFolder folder;
  {
    const Records records({2, 4, 4});
    const auto log = TrajectoryLog::create({folder.path()}, kHeader);
    for (std::int64_t slot = 0; slot < kRecords; ++slot) log->append(records.make(slot));
    log->close();
  }
  const std::string path = folder.file("q-000000000000.seg");
  const auto bytes = static_cast<std::uint64_t>(fs::file_size(path));
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  const auto flip = [&](std::uint64_t bit) {
    char byte = 0;
    const auto offset = static_cast<off_t>(bit / 8);
    if (::pread(file, &byte, 1, offset) != 1) throw failure("[chaos] cannot read '{}'", path);
    byte = static_cast<char>(byte ^ (1 << (bit % 8)));
    if (::pwrite(file, &byte, 1, offset) != 1) throw failure("[chaos] cannot write '{}'", path);
  };
  ByteFaults faults;
  std::mt19937_64 random(seed);
  for (; faults.tries < tries; ++faults.tries) {
    const std::uint64_t bit = random() % (8 * bytes);
    flip(bit);
    const LogCheck check = check_log(folder.path());
    if (check.damages.empty()) miss(faults, fmt::format("bit {} was not noticed", bit));
    if (check.records + 1 < static_cast<std::uint64_t>(kRecords))
      miss(faults, fmt::format("bit {} cost {} records", bit, kRecords - static_cast<std::int64_t>(check.records)));
    flip(bit);
  }
  ::close(file);
  return faults;
}

}  // namespace nabla::chaos
