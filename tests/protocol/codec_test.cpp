#include "protocol/codec.h"
#include "tests/common/error_check.h"
#include "tests/protocol/message_pack.h"
#include "tests/protocol/sample_record.h"

#include <bit>
#include <limits>

namespace nabla {

namespace {

template <class Message>
Message round_trip(const Message& message, const CodecLimits& limits = {}) {
  const Bytes bytes = encode(message);
  Message back;
  const DecodeStatus status = decode(bytes.view, back, limits);
  INFO(status.reason);
  REQUIRE(status.ok);
  // The encoding is canonical, so equal bytes mean equal fields.
  CHECK(copy_of(encode(back)) == copy_of(bytes));
  return back;
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

// The reason why a text is no TicketFailure.
std::string refusal_of(const std::string& text, const CodecLimits& limits = {}) {
  TicketFailure message;
  const DecodeStatus status = decode(bytes_of(text), message, limits);
  CHECK_FALSE(status.ok);
  return status.reason;
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("every message comes back as it was") {
  const Hello hello = round_trip(Hello{kProtocolVersion, "a-1", "host", 4711, "digest"});
  CHECK(hello.actor_id == "a-1");
  CHECK(hello.pid == 4711);
  CHECK(hello.base_digest == "digest");

  const Welcome welcome = round_trip(Welcome{"run", "model:\n  x: 1\n", "base", "table", "ipc:///tmp/w", 3});
  CHECK(welcome.config == "model:\n  x: 1\n");
  CHECK(welcome.newest_version == 3);

  CHECK(round_trip(Refusal{"other base model", 3}).exit_code == 3);

  Heartbeat heartbeat;
  heartbeat.stage = "sampling";
  heartbeat.version = -1;
  heartbeat.peak_rss_bytes = 1ull << 40;
  heartbeat.stage_seconds = {{"sampling", 1.5}, {"reference", 0.25}};
  heartbeat.counters = {{"forwards", 50}};
  const Heartbeat beat = round_trip(heartbeat);
  CHECK(beat.version == -1);
  CHECK(beat.stage_seconds == heartbeat.stage_seconds);
  CHECK(beat.counters == heartbeat.counters);

  EvaluationResult result;
  result.pictures = {0, 1};
  result.prompts = {"a circle", "a square"};
  result.table = sample_tensors().table;
  CHECK(round_trip(result).table.size() == 3);

  CHECK(round_trip(Ack{9, 7, Reject::kDuplicate, "was first", 4, "d"}).reject == Reject::kDuplicate);
  CHECK(round_trip(TicketFailure{9, "reward failed"}).reason == "reward failed");
  CHECK(round_trip(SnapshotRequest{5}).version == 5);
  CHECK(round_trip(Alive{5, "d"}).newest_digest == "d");
  CHECK(round_trip(Notice{"text"}).text == "text");
  CHECK(round_trip(PublishEntry{2, "d"}).version == 2);
  CHECK(round_trip(DiscardEntry{7, 1, "non_finite"}).reason == "non_finite");
  CHECK(round_trip(TrainedEntry{1, {4, 5, 6, 7}}).slots.size() == 4);
  CHECK(round_trip(SegmentSummary{1, 2, 1, 0, 3, "d"}).max_version == 3);

  Snapshot snapshot;
  snapshot.version = 3;
  snapshot.table = sample_tensors().table;
  CHECK(round_trip(snapshot, kSnapshotLimits).table[0].name == "eps_reference");
}

TEST_CASE("work comes back with and without a ticket") {
  CHECK_FALSE(round_trip(Work{WorkState::kWait, std::nullopt, "version 1 is in training", 0}).ticket);
  Ticket ticket;
  ticket.id = 1ull << 63;
  ticket.kind = TicketKind::kEvaluate;
  ticket.exact_version = true;
  ticket.slots = {{4, 2, "a red circle", 99, {0, 3, 49}}, {5, 3, "", 99, {}}};
  const Work work = round_trip(Work{WorkState::kTicket, ticket, "", 2});
  REQUIRE(work.ticket);
  CHECK(work.ticket->id == 1ull << 63);
  CHECK(work.ticket->kind == TicketKind::kEvaluate);
  CHECK(work.ticket->exact_version);
  CHECK(work.ticket->slots[0].transitions == std::vector<std::int32_t>{0, 3, 49});
  CHECK(work.ticket->slots[0].prompt == "a red circle");
}

TEST_CASE("every record header field comes back") {
  const RecordHeader header = round_trip(sample_header());
  CHECK(header.seed == 0xFFFFFFFFFFFFFFFF);
  CHECK(header.prompt == sample_header().prompt);
  CHECK(header.token_ids == sample_header().token_ids);
  CHECK(header.transitions[1].step == 49);
  CHECK(header.transitions[0].next_timestep == 881);
  CHECK(header.reward_components == sample_header().reward_components);
}

TEST_CASE("a whole number stays a floating-point number") {
  for (const double value : {0.0, -0.0, 2.0, -3.0, 1e300, -std::numeric_limits<double>::infinity()}) {
    RecordHeader header = sample_header();
    header.reward = header.reward_components["red"] = value;
    const Bytes bytes = encode(header);
    RecordHeader back;
    const DecodeStatus status = decode(bytes.view, back);
    REQUIRE(status.reason == "");
    CHECK(std::bit_cast<std::uint64_t>(back.reward) == std::bit_cast<std::uint64_t>(value));
    CHECK(std::bit_cast<std::uint64_t>(back.reward_components.at("red")) == std::bit_cast<std::uint64_t>(value));
  }
}

TEST_CASE("a message that ends anywhere too early is refused") {
  const std::vector<std::byte> bytes = copy_of(encode(sample_header()));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    RecordHeader header;
    CHECK_FALSE(decode(std::span(bytes).first(size), header).ok);
  }
}

TEST_CASE("sizes that lie are refused before memory is taken for them") {
  using namespace pack;
  for (const std::string head :
       {"\xDD\xFF\xFF\xFF\xFF", "\xDF\xFF\xFF\xFF\xFF", "\xDB\xFF\xFF\xFF\xFF", "\xC6\xFF\xFF\xFF\xFF", "\xC9\xFF\xFF\xFF\xFF"})
    refusal_of(head);
  CHECK(holds(refusal_of(array_of(0xFFFFFFFF) + std::string(100, '\x01')), "declares more items"));
  CHECK(holds(refusal_of(map_of(0x80000000) + std::string(100, '\x01')), "declares more items"));
  // Counts that fit one by one but not together.
  CHECK(holds(refusal_of(array_of(50) + array_of(40) + array_of(40) + std::string(20, '\x01')), "declares more items"));
  CHECK(holds(refusal_of(map({{"ticket_id", number(1)}, {"reason", text("abc").substr(0, 7)}})), "ends in the middle"));
}

TEST_CASE("nesting deeper than 8 is refused") {
  CHECK(holds(refusal_of(std::string(1000000, '\x91'), {2000000, 2000000}), "nested too deep"));
  CHECK(holds(refusal_of(std::string(9, '\x91') + "\x01"), "nested too deep"));
  CHECK_FALSE(holds(refusal_of(std::string(8, '\x91') + "\x01"), "nested too deep"));
}

TEST_CASE("a message larger or with more values than its limits is refused") {
  CHECK(holds(refusal_of(std::string(2000, '\x01'), {1000, 1000}), "has 2000 bytes, at most 1000"));
  CHECK(holds(refusal_of("\xDC\x03\xE8" + std::string(1000, '\x01'), {1 << 20, 100}), "declares more items"));
}

TEST_CASE("fields that are missing, unknown, double or out of order are refused by name") {
  using namespace pack;
  const std::pair<std::string, std::string> id{"ticket_id", number(1)}, reason{"reason", text("r")};
  CHECK(holds(refusal_of(map({id})), "after field 'ticket_id'"));
  CHECK(holds(refusal_of(map({id, id})), "has field 'ticket_id' where 'reason' is expected"));
  CHECK(holds(refusal_of(map({reason, id})), "has field 'reason' where 'ticket_id' is expected"));
  CHECK(holds(refusal_of(map({id, reason, id})), "has 3 fields where 2 are expected"));
  CHECK(holds(refusal_of(map({{"ticket_ix", number(1)}, reason})), "ticket_ix"));
  CHECK(holds(refusal_of(map_of(0)), "a field's name"));
}

TEST_CASE("values of a wrong type or out of range are refused by field") {
  using namespace pack;
  const auto with_id = [](const std::string& value) { return map({{"ticket_id", value}, {"reason", text("r")}}); };
  const auto with_reason = [](const std::string& value) { return map({{"ticket_id", number(1)}, {"reason", value}}); };
  for (const std::string& value : {negative(-1), real(1.0), text("1"), std::string("\xC0"), std::string("\xC3"), array({number(1)})}) {
    CHECK(holds(refusal_of(with_id(value)), "field 'ticket_id'"));
  }
  for (const std::string& value : {number(1), std::string("\xC0"), std::string("\x90")})
    CHECK(holds(refusal_of(with_reason(value)), "field 'reason' is not a string"));
  CHECK(holds(refusal_of(with_reason("\xC4\x01z")), "binary"));
  CHECK(holds(refusal_of(with_reason("\xD4\x01z")), "extension"));
  CHECK(holds(refusal_of(with_reason(text(std::string(5000, 'a')))), "has 5000 bytes, at most 4096"));
  CHECK(holds(refusal_of("\xC1"), "MessagePack"));

  Ack ack;
  const auto ack_with = [&](const std::string& reject) {
    return decode(bytes_of(map({{"ticket_id", number(1)},
                                {"slot", number(1)},
                                {"reject", reject},
                                {"reason", text("")},
                                {"newest_version", number(1)},
                                {"newest_digest", text("")}})),
                  ack);
  };
  CHECK(ack_with(number(14)).ok);
  CHECK(holds(ack_with(number(15)).reason, "field 'reject' has the unknown value 15"));
  Refusal refusal;
  const DecodeStatus wide = decode(bytes_of(map({{"reason", text("")}, {"exit_code", number(1ull << 31)}})), refusal);
  CHECK(holds(wide.reason, "exit_code"));
}

TEST_CASE("text that is not UTF-8 is refused") {
  using namespace pack;
  for (const std::string bad :
       {"\xFF", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xC3", "a\x80"}) {
    CHECK(holds(refusal_of(map({{"ticket_id", number(1)}, {"reason", text(bad)}})), "not UTF-8"));
  }
  TicketFailure good;
  CHECK(decode(bytes_of(map({{"ticket_id", number(1)}, {"reason", text("\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80")}})), good).ok);
}

TEST_CASE("keys of a map that stand twice or out of order are refused") {
  using namespace pack;
  const auto beat_with = [](const std::string& counters) {
    return map({{"actor_id", text("")},
                {"ticket_id", number(0)},
                {"stage", text("")},
                {"steps_done", number(0)},
                {"version", number(0)},
                {"digest", text("")},
                {"peak_rss_bytes", number(0)},
                {"stage_seconds", map({})},
                {"counters", counters}});
  };
  Heartbeat beat;
  CHECK(decode(bytes_of(beat_with(map({{"a", number(1)}, {"b", number(2)}}))), beat).ok);
  CHECK(holds(decode(bytes_of(beat_with(map({{"a", number(1)}, {"a", number(2)}}))), beat).reason, "key 'a' twice"));
  CHECK_FALSE(decode(bytes_of(beat_with(map({{"b", number(1)}, {"a", number(2)}}))), beat).ok);
}

TEST_CASE("bytes after a message are refused") {
  const Bytes good = encode(TicketFailure{1, "r"});
  std::vector<std::byte> bytes = copy_of(good);
  bytes.push_back(std::byte{1});
  TicketFailure message;
  CHECK(holds(decode(bytes, message).reason, "1 bytes after its end"));
}

TEST_CASE("another protocol version is told apart from damage") {
  Hello hello;
  hello.protocol_version = kProtocolVersion + 1;
  const DecodeStatus status = decode(encode(hello).view, hello);
  CHECK(status.other_version);
  CHECK(holds(status.reason, "protocol version 2, this program speaks 1"));
}

TEST_CASE("what the wire does not carry is refused where it is made") {
  check_error(
      ExitCode::kData,
      [] {
        encode(TicketFailure{1, std::string(5000, 'a')});
      },
      "'reason'", "5000", "4096");
  CHECK(wire_text(std::string(5000, 'a')).size() == 4096);
  CHECK(wire_text("caf\xC3\xA9 \xFF!") == "caf\xC3\xA9 ?!");
  CHECK(wire_text("cut \xE2\x82") == "cut ??");
}

}  // namespace nabla
