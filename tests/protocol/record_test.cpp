#include "common/crc32c.h"
#include "protocol/codec.h"
#include "tests/protocol/sample_record.h"
#include "tests/testing.h"

#include <algorithm>
#include <limits>

namespace nabla {

namespace {

// Judged after a change of the header, with checksums that fit.
DecodeResult judge_header(auto change, RecordLimits limits = {}) {
  RecordHeader header = sample_header();
  const PackedTensors tensors = sample_tensors();
  header.tensors = tensors.table;
  change(header);
  EncodedRecord record{encode(header), tensors.data, 0, 0};
  record.header_crc32c = crc32c(record.header.view);
  record.data_crc32c = crc32c(record.data.view);
  return decode_record(record, limits);
}

void check_refused(const DecodeResult& result, Reject reject, const std::string& part) {
  INFO(result.reason);
  CHECK(name_of(result.reject) == name_of(reject));
  CHECK(result.reason.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("a record comes back with its tensors") {
  const DecodeResult result = decode_record(sample_record(), {});
  REQUIRE(result.reject == Reject::kNone);
  CHECK(result.record.header.slot == 7);
  const TensorEntry* y = result.record.find("y");
  REQUIRE(y != nullptr);
  CHECK(y->shape == std::vector<std::int64_t>{2, 1, 2, 3});
  const auto bytes = result.record.bytes(*y);
  const auto values = sample_values();
  CHECK(std::memcmp(bytes.data(), values.data(), bytes.size()) == 0);
  CHECK(result.record.find("reward_grad_x") == nullptr);
}

TEST_CASE("the tensors of a decoded record outlive their maker") {
  TrajectoryRecord record = decode_record(sample_record(), {}).record;
  const auto bytes = record.bytes(*record.find("x"));
  float second = 0;
  std::memcpy(&second, bytes.data() + 4, 4);
  CHECK(second == 0.5F);
}

TEST_CASE("every flipped bit of a small record is detected") {
  const EncodedRecord good = sample_record();
  const auto check_flips = [&](bool in_header) {
    std::vector<std::byte> bytes = copy_of(in_header ? good.header : good.data);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        const std::byte before = bytes[i];
        bytes[i] ^= static_cast<std::byte>(1 << bit);
        EncodedRecord flipped = good;
        (in_header ? flipped.header : flipped.data).view = bytes;
        const bool refused = decode_record(flipped, {}).reject != Reject::kNone;
        REQUIRE(refused);
        bytes[i] = before;
      }
    }
  };
  check_flips(true);
  check_flips(false);
}

TEST_CASE("a record cut off anywhere is refused") {
  const EncodedRecord good = sample_record();
  for (std::size_t size = 0; size < good.data.view.size(); ++size) {
    EncodedRecord cut = good;
    cut.data.view = cut.data.view.first(size);
    CHECK(decode_record(cut, {}).reject == Reject::kBadTensor);
  }
}

TEST_CASE("frames above their limits are refused first") {
  check_refused(judge_header([](auto&) {}, {.max_header_bytes = 100}), Reject::kTooLarge, "the header has");
  check_refused(judge_header([](auto&) {}, {.max_data_bytes = 100}), Reject::kTooLarge, "the data frame has");
}

TEST_CASE("another protocol version is refused with both versions") {
  check_refused(judge_header([](auto& h) { h.protocol_version = 9; }), Reject::kVersionMismatch,
                "protocol version 9, this program speaks 1");
}

TEST_CASE("fields without sense are refused by name") {
  check_refused(judge_header([](auto& h) { h.slot = -1; }), Reject::kBadHeader, "'slot' is -1");
  check_refused(judge_header([](auto& h) { h.update = -2; }), Reject::kBadHeader, "'update'");
  check_refused(judge_header([](auto& h) { h.version = -1; }), Reject::kBadHeader, "'version'");
  check_refused(judge_header([](auto& h) { h.prompt_index = -1; }), Reject::kBadHeader, "'prompt_index'");
  check_refused(judge_header([](auto& h) { h.token_ids = {1, -5}; }), Reject::kBadHeader, "-5");
  check_refused(judge_header([](auto& h) { h.kind = TicketKind::kEvaluate; }), Reject::kBadHeader, "'kind'");
}

TEST_CASE("transitions must exist and ascend") {
  check_refused(judge_header([](auto& h) { h.transitions.clear(); }), Reject::kBadTransitions, "empty");
  check_refused(judge_header([](auto& h) { std::swap(h.transitions[0], h.transitions[1]); }), Reject::kBadTransitions,
                "step 3 behind step 49");
  check_refused(judge_header([](auto& h) { h.transitions[0].step = -1; }), Reject::kBadTransitions, "step -1");
}

TEST_CASE("tensors must have one row a transition and one common shape") {
  check_refused(judge_header([](auto& h) { h.transitions.push_back(h.transitions.back()); }), Reject::kBadTensor, "[3,C,H,W]");
  check_refused(judge_header([](auto& h) { h.tensors[1].shape = {2, 2, 1, 3}; }), Reject::kBadTensor, "another shape");
  check_refused(judge_header([](auto& h) { h.tensors[0].shape = {2, 6}; }), Reject::kBadTensor, "eps_reference");
  check_refused(judge_header([](auto& h) { h.tensors[2].name = std::string("z"); }), Reject::kBadTensor, "missing");
  CHECK(judge_header([](auto& h) {
          h.kind = TicketKind::kRelabel;
          h.tensors[2].name = std::string("z");
        }).reject == Reject::kNone);
}

TEST_CASE("wrong checksums are refused, and are not looked at when the check is off") {
  EncodedRecord record = sample_record();
  record.data_crc32c ^= 1;
  check_refused(decode_record(record, {}), Reject::kBadChecksum, "data frame");
  record.header_crc32c ^= 1;
  check_refused(decode_record(record, {}), Reject::kBadChecksum, "header");
  // Whatever a damaged header says, it is not its sender who said it.
  RecordHeader header = sample_header();
  header.slot = -1;
  EncodedRecord strange = encode_record(header, sample_tensors());
  strange.header_crc32c ^= 1;
  check_refused(decode_record(strange, {}), Reject::kBadChecksum, "header");
  CHECK(decode_record(record, {.check_crc = false}).reject == Reject::kNone);
}

TEST_CASE("values that are not finite are refused by the name of what holds them") {
  check_refused(judge_header([](auto& h) { h.reward = std::numeric_limits<double>::quiet_NaN(); }), Reject::kNonFinite, "reward");
  check_refused(judge_header([](auto& h) { h.reward_components["red"] = 1 / 0.0; }), Reject::kNonFinite, "'red'");
  auto values = sample_values();
  values[11] = -std::numeric_limits<float>::infinity();
  const EncodedRecord record = encode_record(sample_header(), sample_tensors(values));
  check_refused(decode_record(record, {}), Reject::kNonFinite, "'eps_reference'");
  CHECK(decode_record(record, {.check_finite = false}).reject == Reject::kNone);
}

TEST_CASE("in a frame of many blocks a value that is not finite is found wherever it stands, and a flipped bit comes first") {
  // Three tensors of 100 000 bytes: blocks of 64 KiB end in the middle of them.
  std::vector<float> values(25'000, 0.5F);
  for (const std::size_t place : {std::size_t{0}, std::size_t{16'383}, std::size_t{16'384}, values.size() - 1}) {
    auto damaged = values;
    damaged[place] = std::numeric_limits<float>::quiet_NaN();
    for (const std::string name : {"eps_reference", "x", "y"}) {
      std::map<std::string, TensorSource> sources;
      for (const std::string each : {"eps_reference", "x", "y"})
        sources[each] = {DType::kF32, {2, 1, 125, 100}, std::as_bytes(std::span(each == name ? damaged : values))};
      EncodedRecord record = encode_record(sample_header(), pack_tensors(sources));
      check_refused(decode_record(record, {}), Reject::kNonFinite, "'" + name + "'");
      CHECK(decode_record(record, {.check_finite = false}).reject == Reject::kNone);
      auto flipped = copy_of(record.data);
      flipped[flipped.size() - 1] ^= std::byte{1};
      record.data = own(flipped);
      check_refused(decode_record(record, {}), Reject::kBadChecksum, "data frame");
    }
  }
}

TEST_CASE("every reason has a code of its own") {
  std::vector<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Reject::kNondeterministicActor); ++i) names.push_back(name_of(static_cast<Reject>(i)));
  std::ranges::sort(names);
  CHECK(std::ranges::adjacent_find(names) == names.end());
  CHECK(std::ranges::find(names, "unknown") == names.end());
}

}  // namespace nabla
