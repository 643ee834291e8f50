// Mutations of good inputs against every parser of protocol/. `protocol_fuzz --count 1000000` runs a million of each; under the preset `asan` with the
// sanitizers.
#include "common/crc32c.h"
#include "common/files.h"
#include "protocol/codec.h"
#include "protocol/keys.h"
#include "protocol/log_entry.h"
#include "protocol/record.h"
#include "protocol/segment_scan.h"
#include "protocol/trajectory_log.h"
#include "protocol/wire_socket.h"
#include "tests/common/temporary_folder.h"
#include "tests/fuzz/fuzzing.h"
#include "tests/protocol/envelope_bytes.h"
#include "tests/protocol/fake_learner.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace nabla {

namespace {

std::string text_of(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.view.data()), bytes.view.size()}; }

FuzzOutcome outcome(bool accepted) { return accepted ? FuzzOutcome::kAccepted : FuzzOutcome::kRefused; }

template <class Integer>
Integer number_at(std::span<const std::byte> bytes, std::size_t offset) {
  Integer value{};
  if (offset + sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// Writes the CRC32C of the first bytes behind them.
void mend_sum(std::string& input, std::size_t size) {
  if (input.size() < size + 4) return;
  const std::uint32_t sum = crc32c(std::as_bytes(std::span(input)).first(size));
  std::memcpy(input.data() + size, &sum, sizeof sum);
}

// The input's first 4 bytes say where it falls into two.
struct Halves {
  std::span<const std::byte> first, second;
};
Halves halves_of(std::span<const std::byte> input) {
  if (input.size() < 4) return {};
  const std::size_t size = std::min<std::size_t>(number_at<std::uint32_t>(input, 0), input.size() - 4);
  return {input.subspan(4, size), input.subspan(4 + size)};
}
std::string joined(const std::string& first, const std::string& second) {
  std::string all(4, '\0');
  const auto size = static_cast<std::uint32_t>(first.size());
  std::memcpy(all.data(), &size, sizeof size);
  return all + first + second;
}

FuzzTarget envelope() {
  EnvelopeBytes good;
  return {"envelope",
          {good.text()},
          [](std::span<const std::byte> input) {
            WireMessage message;
            return outcome(read_envelope(input, 1, message) == Received::kMessage);
          },
          3,
          256,
          [](std::string& input, FuzzRandom&) { mend_sum(input, 28); }};
}

// What decode() accepts, encode() writes again with the same content: the encoder's form is the only one of a message but for its numbers.
template <class Message>
FuzzOutcome decode_as(std::span<const std::byte> input, const CodecLimits& limits = {}) {
  Message message;
  if (!decode(input, message, limits).ok) return FuzzOutcome::kRefused;
  const Bytes again = encode(message);
  Message twice;
  if (!decode(again.view, twice, limits).ok) throw std::logic_error("a message that was read cannot be written and read again");
  return FuzzOutcome::kAccepted;
}

template <class Message>
FuzzTarget body(const std::string& name, const Message& good, const CodecLimits& limits = {}) {
  return {name, {text_of(encode(good))}, [limits](std::span<const std::byte> input) { return decode_as<Message>(input, limits); }};
}

Heartbeat sample_heartbeat() {
  Heartbeat heartbeat;
  heartbeat.stage = "sampling";
  heartbeat.digest = "digest";
  heartbeat.stage_seconds = {{"sampling", 1.5}, {"delivery", 0.25}};
  heartbeat.counters = {{"unet_forwards", 12}};
  return heartbeat;
}

EvaluationResult sample_evaluation() {
  EvaluationResult result;
  result.ticket_id = 12;
  result.digest = "digest";
  result.pictures = {1, 2};
  result.prompts = {"a red star", "a blue ring"};
  result.table = sample_tensors().table;
  return result;
}

FuzzTarget record() {
  const EncodedRecord good = sample_record();
  return {"record", {joined(text_of(good.header), text_of(good.data))}, [](std::span<const std::byte> input) {
            const Halves halves = halves_of(input);
            EncodedRecord encoded{{nullptr, halves.first}, {nullptr, halves.second}, crc32c(halves.first), crc32c(halves.second)};
            return outcome(decode_record(encoded, {}).reject == Reject::kNone);
          }};
}

FuzzTarget manifest() {
  const Snapshot good = sample_snapshot(1);
  return {"weight_manifest", {joined(text_of(encode(good)), text_of(good.data))}, [](std::span<const std::byte> input) {
            const Halves halves = halves_of(input);
            Snapshot snapshot;
            return outcome(decode(halves.first, snapshot, kSnapshotLimits).ok && !find_table_fault(snapshot.table, halves.second.size()));
          }};
}

// A sealed segment with an entry of each type.
std::string sample_segment() {
  const TemporaryFolder folder;
  const auto log = TrajectoryLog::create({folder.path(), Durability::kPageCache}, {"run-1", "contract", "seed: 1\n"});
  log->append(PublishEntry{0, "digest-0"});
  log->append(sample_record(0));
  log->append(DiscardEntry{1, 0, "non_finite: x"});
  log->append(TrainedEntry{0, {0, 2}});
  log->close();
  return read_file(folder.file(segment_name(0)), std::size_t{1} << 20);
}

// Makes the checksums of a block's header right, and half of the time those of its frames too.
void mend_block(std::string& input, std::size_t offset, FuzzRandom& random) {
  const auto bytes = std::as_bytes(std::span(input)).subspan(std::min(offset, input.size()));
  const auto length = number_at<std::uint32_t>(bytes, 4);
  if (length < 44 || length > kBlockHeaderBytes || bytes.size() < kBlockHeaderBytes) return;
  const bool frames = random.below(2) == 0;
  std::uint64_t place = kBlockHeaderBytes;
  for (std::size_t entry = 28; frames && entry + 12 <= length; entry += 12) {
    const auto size = number_at<std::uint64_t>(bytes, entry);
    if (size > bytes.size() - std::min<std::size_t>(place, bytes.size())) break;
    const std::uint32_t sum = crc32c(bytes.subspan(place, size));
    std::memcpy(input.data() + offset + entry + 8, &sum, sizeof sum);
    place = (place + size + kBlockAlignment - 1) / kBlockAlignment * kBlockAlignment;
  }
  const std::uint32_t sum = crc32c(bytes.first(length - 4));
  std::memcpy(input.data() + offset + length - 4, &sum, sizeof sum);
}

FuzzTarget block() {
  const std::string segment = sample_segment();
  std::vector<std::string> seeds;
  for (const auto& entry : scan_segment(std::as_bytes(std::span(segment)), 0).entries)
    seeds.push_back(segment.substr(entry.offset, entry.block.total_bytes));
  return {"log_block",
          seeds,
          [](std::span<const std::byte> input) {
            const auto seq = number_at<std::uint64_t>(input, 16);
            peek_block(input, 0, seq);
            find_block(input, 0, 0);
            const BlockCheck check = check_block(input, 0, seq);
            if (check.state != BlockState::kGood) return FuzzOutcome::kRefused;
            return outcome(entry_of(check.block, nullptr).entry.has_value());
          },
          3,
          256,
          [](std::string& input, FuzzRandom& random) { mend_block(input, 0, random); }};
}

FuzzTarget segment() {
  return {"log_segment",
          {sample_segment()},
          [](std::span<const std::byte> input) {
            is_torn_header(input);
            if (check_segment_header(input).fault) return FuzzOutcome::kRefused;
            const SegmentScan scan = scan_segment(input, 0);
            for (const auto& entry : scan.entries) entry_of(entry.block, nullptr);
            return outcome(scan.faults.empty());
          },
          3,
          256,
          [](std::string& input, FuzzRandom& random) {
            mend_sum(input, 60);
            mend_block(input, kBlockAlignment * (1 + random.below(std::max<std::size_t>(input.size() / kBlockAlignment, 1))), random);
          }};
}

// The two frames of a footer, whose checksums are another parser's matter.
FuzzTarget footer() {
  const std::string segment = sample_segment();
  const auto found = find_footer(std::as_bytes(std::span(segment)));
  const Block made = make_footer(found.value().summary, found->index);
  const std::uint64_t offset = found->offset;
  return {"segment_footer", {joined(text_of(made.frames[0]), text_of(made.frames[1]))}, [offset](std::span<const std::byte> input) {
            const Halves halves = halves_of(input);
            FoundBlock block;
            block.type = BlockType::kFooter;
            block.seq = 5;
            block.num_frames = 2;
            block.frames = {halves.first, halves.second};
            return outcome(footer_of(block, offset).has_value());
          }};
}

FuzzTarget sealed_end() {
  return {"segment_end",
          {sample_segment()},
          [](std::span<const std::byte> input) { return outcome(find_footer(input).has_value()); },
          3,
          256,
          [](std::string& input, FuzzRandom& random) {
            mend_block(input, kBlockAlignment * (1 + random.below(std::max<std::size_t>(input.size() / kBlockAlignment, 1))), random);
          }};
}

FuzzTarget key_file() {
  const KeyPair server = make_key_pair(), actor = make_key_pair();
  return {"key_file",
          {key_text({"actor", "gpu-1", actor.public_key, actor.secret_key, server.public_key, 1764248050}),
           key_text({"server", "server", server.public_key, server.secret_key, "", 1764248050}),
           key_text({"actor", "gpu-1", actor.public_key, "", "", 1764248050})},
          [](std::span<const std::byte> input) {
            parse_key_text({reinterpret_cast<const char*>(input.data()), input.size()}, "fuzzed.key");
            return FuzzOutcome::kAccepted;
          }};
}

std::vector<FuzzTarget> targets() {
  const Ticket ticket = sample_ticket(5);
  return {envelope(),
          body("hello", Hello{kProtocolVersion, "actor", "host", 1, "base"}),
          body("welcome", Welcome{"run-1", "seed: 1\n", "base", "table", "tcp://127.0.0.1:5556", 3}),
          body("work", Work{WorkState::kTicket, ticket, "", 3}),
          body("ack", Ack{12, 7, Reject::kBadTensor, "a reason", 3, "digest-3"}),
          body("heartbeat", sample_heartbeat()),
          body("evaluation", sample_evaluation()),
          body("ticket_failure", TicketFailure{12, "a reason"}),
          body("refusal", Refusal{"a reason", 4}),
          body("notice", Notice{"a reason"}),
          body("alive", Alive{3, "digest-3"}),
          body("snapshot_request", SnapshotRequest{3}),
          body("states_request", StatesRequest{7}),
          body("slot_states", SlotStates{7, sample_tensors().table, {}}),
          body("trained", TrainedEntry{3, {1, 2, 3, 500}}, kTrainedLimits),
          record(),
          manifest(),
          block(),
          segment(),
          footer(),
          sealed_end(),
          key_file()};
}

}  // namespace

}  // namespace nabla

int main(int argc, char** argv) { return nabla::fuzz_main(argc, argv, nabla::targets()); }
