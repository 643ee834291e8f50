#include "common/crc32c.h"
#include "tests/protocol/message_pack.h"
#include "tests/protocol/sample_record.h"
#include "tests/testing.h"

namespace nabla {

namespace {

using pack::Fields;

std::string packed_tensor(const std::string& name, std::uint64_t dtype, const std::vector<std::string>& shape, std::uint64_t offset,
                          std::uint64_t size) {
  std::vector<std::string> dimensions;
  for (const auto& dimension : shape) dimensions.push_back(dimension);
  return pack::map({{"name", pack::text(name)},
                    {"dtype", pack::number(dtype)},
                    {"shape", pack::array(dimensions)},
                    {"offset", pack::number(offset)},
                    {"size", pack::number(size)}});
}

// The fields of a good header for 1 transition and two tensors [1,1,2,2] in a frame of 80 bytes.
Fields good_fields() {
  using namespace pack;
  const std::vector<std::string> shape{number(1), number(1), number(2), number(2)};
  const std::string transition = map({{"step", number(0)}, {"timestep", number(1)}, {"next_timestep", number(0)}});
  return {{"protocol_version", number(1)},
          {"kind", number(0)},
          {"run_id", text("run")},
          {"slot", number(1)},
          {"update", number(0)},
          {"ticket_id", number(1)},
          {"actor_id", text("a")},
          {"version", number(0)},
          {"digest", text("d")},
          {"prompt_index", number(0)},
          {"prompt", text("p")},
          {"token_ids", array({})},
          {"seed", number(1)},
          {"step_table_id", text("t")},
          {"transitions", array({transition})},
          {"reward", real(0.5)},
          {"reward_components", map({})},
          {"reward_spec", text("r")},
          {"gradient_kind", text("policy_fl")},
          {"tensors", array({packed_tensor("x", 8, shape, 0, 16), packed_tensor("y", 8, shape, 64, 16)})}};
}

DecodeResult judge(const std::string& header, std::size_t data_bytes = 80) {
  EncodedRecord record;
  record.header = own({std::as_bytes(std::span(header)).begin(), std::as_bytes(std::span(header)).end()});
  record.data = own(std::vector<std::byte>(data_bytes));
  record.header_crc32c = crc32c(record.header.view);
  record.data_crc32c = crc32c(record.data.view);
  return decode_record(record, {});
}

DecodeResult judge_with(const std::string& field, const std::string& value) {
  Fields fields = good_fields();
  for (auto& [name, packed] : fields) {
    if (name == field) packed = value;
  }
  return judge(pack::map(fields));
}

void check_bad_header(const DecodeResult& result, const std::string& part) {
  INFO(result.reason);
  CHECK(name_of(result.reject) == "bad_header");
  CHECK(result.reason.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("a header packed by hand is accepted") { CHECK(judge(pack::map(good_fields())).reason == ""); }

TEST_CASE("every field of a wrong type is refused by its name") {
  using namespace pack;
  for (const auto& [name, value] : good_fields()) {
    INFO(name);
    // No field is nil or a boolean.
    CHECK(judge_with(name, "\xC0").reject == Reject::kBadHeader);
    check_bad_header(judge_with(name, "\xC3"), name);
    check_bad_header(judge_with(name, "\xC4\x02zz"), "binary");
    check_bad_header(judge_with(name, std::string("\xD4\x01z", 3)), "extension");
    const bool is_number = value[0] == '\xCF';
    check_bad_header(judge_with(name, is_number ? text("1") : number(1)), name);
  }
}

TEST_CASE("every field left out or doubled is refused") {
  const Fields good = good_fields();
  for (std::size_t i = 0; i < good.size(); ++i) {
    Fields without = good, doubled = good;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(i));
    doubled.insert(doubled.begin() + static_cast<std::ptrdiff_t>(i), good[i]);
    CHECK(judge(pack::map(without)).reject == Reject::kBadHeader);
    CHECK(judge(pack::map(doubled)).reject == Reject::kBadHeader);
  }
}

TEST_CASE("counts of 0xffffffff in every list are refused") {
  for (const std::string field : {"token_ids", "transitions", "tensors"})
    check_bad_header(judge_with(field, pack::array_of(0xFFFFFFFF)), "declares more items");
  check_bad_header(judge_with("reward_components", pack::map_of(0xFFFFFFFF)), "declares more items");
  check_bad_header(judge_with("prompt", "\xDB\xFF\xFF\xFF\xFF"), "ends in the middle");
}

TEST_CASE("lists above their caps are refused") {
  using namespace pack;
  check_bad_header(judge_with("token_ids", array(std::vector<std::string>(1025, "\x01"))), "1025 elements, at most 1024");
  check_bad_header(judge_with("tensors", array(std::vector<std::string>(65, "\x01"))), "65 elements, at most 64");
  check_bad_header(judge_with("run_id", text(std::string(257, 'r'))), "257 bytes, at most 256");
}

TEST_CASE("hostile tensor tables are refused") {
  using namespace pack;
  const std::string one = number(1), two = number(2);
  const std::vector<std::string> shape{one, one, two, two};
  const std::string x = packed_tensor("x", 8, shape, 0, 16);
  const auto refused_y = [&](const std::string& y) {
    const DecodeResult result = judge_with("tensors", array({x, y}));
    INFO(result.reason);
    CHECK(result.reject == Reject::kBadTensor);
    CHECK(result.reason.find("'y'") != std::string::npos);
  };
  refused_y(packed_tensor("y", 8, shape, 0, 16));      // overlaps x
  refused_y(packed_tensor("y", 8, shape, 65, 16));     // unaligned
  refused_y(packed_tensor("y", 8, shape, 128, 16));    // a hole
  refused_y(packed_tensor("y", 8, shape, ~0ull, 16));  // offset + size wraps
  refused_y(packed_tensor("y", 8, shape, 64, ~0ull));
  refused_y(packed_tensor("y", 9, shape, 64, 16));                             // f64 needs 32
  refused_y(packed_tensor("y", 8, {one, one, two, number(2000)}, 64, 16000));  // behind the frame
  refused_y(packed_tensor("y", 8, {one, one, two, number(0)}, 64, 0));
  refused_y(packed_tensor("y", 8, {one, one, two, negative(-2)}, 64, 16));
  refused_y(packed_tensor("y", 8, {number(1ull << 62), number(1ull << 62), two, two}, 64, 16));  // the product overflows
  refused_y(packed_tensor("y", 8, std::vector<std::string>(9, one), 64, 4));
  check_bad_header(judge_with("tensors", array({x, packed_tensor("y", 10, shape, 64, 16)})), "dtype");
  check_bad_header(judge_with("tensors", array({x, packed_tensor("y", 8, {number(1ull << 63)}, 64, 16)})), "shape");
  CHECK(judge_with("tensors", array({})).reject == Reject::kBadTensor);
  CHECK(judge(map(good_fields()), 81).reject == Reject::kBadTensor);
  CHECK(judge(map(good_fields()), 0).reject == Reject::kBadTensor);
}

TEST_CASE("random bytes and random mutations never pass nor crash") {
  std::uint64_t state = 1;
  const auto random = [&] { return state = state * 6364136223846793005ull + 1442695040888963407ull, state >> 33; };
  const std::string good = pack::map(good_fields());
  for (int round = 0; round < 3000; ++round) {
    std::string mutated = good;
    const std::size_t changes = 1 + random() % 4;
    for (std::size_t i = 0; i < changes; ++i) mutated[random() % mutated.size()] = static_cast<char>(random());
    if (random() % 4 == 0) mutated.resize(random() % mutated.size());
    EncodedRecord record;
    record.header = {nullptr, std::as_bytes(std::span(mutated))};
    record.header_crc32c = crc32c(std::as_bytes(std::span(good)));
    const std::vector<std::byte> data(80);
    record.data = {nullptr, data};
    record.data_crc32c = crc32c(data);
    const bool accepted = decode_record(record, {}).reject == Reject::kNone;
    if (accepted) CHECK(mutated == good);
  }
}

}  // namespace nabla
