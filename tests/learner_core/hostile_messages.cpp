#include "tests/learner_core/hostile_messages.h"

#include "protocol/codec.h"
#include "tests/learner_core/fixture.h"
#include "tests/protocol/message_pack.h"
#include "tests/protocol/raw_peer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>

namespace nabla::testing {

namespace {

using pack::Fields;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();

std::string text_of(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.view.data()), bytes.view.size()}; }

std::uint32_t sum_of(const std::string& bytes) { return crc32c(std::as_bytes(std::span(bytes))); }

template <class Message>
std::string body_of(const Message& message) {
  return text_of(encode(message));
}

std::string tensor_text(const TensorEntry& entry) {
  std::vector<std::string> shape;
  for (const auto dimension : entry.shape) shape.push_back(pack::negative(dimension));
  return pack::map({{"name", pack::text(entry.name)},
                    {"dtype", pack::number(static_cast<std::uint64_t>(entry.dtype))},
                    {"shape", pack::array(shape)},
                    {"offset", pack::number(entry.offset)},
                    {"size", pack::number(entry.size)}});
}

// The fields of a record's header as they stand on the wire.
Fields packed_fields_of(const RecordHeader& header) {
  using namespace pack;
  std::vector<std::string> tokens, transitions, tensors;
  for (const auto token : header.token_ids) tokens.push_back(negative(token));
  for (const auto& row : header.transitions)
    transitions.push_back(
        map({{"step", negative(row.step)}, {"timestep", negative(row.timestep)}, {"next_timestep", negative(row.next_timestep)}}));
  for (const auto& entry : header.tensors) tensors.push_back(tensor_text(entry));
  return {{"protocol_version", number(header.protocol_version)},
          {"kind", number(static_cast<std::uint64_t>(header.kind))},
          {"run_id", text(header.run_id)},
          {"slot", negative(header.slot)},
          {"update", negative(header.update)},
          {"ticket_id", number(header.ticket_id)},
          {"actor_id", text(header.actor_id)},
          {"version", negative(header.version)},
          {"digest", text(header.digest)},
          {"prompt_index", negative(header.prompt_index)},
          {"prompt", text(header.prompt)},
          {"token_ids", array(tokens)},
          {"seed", number(header.seed)},
          {"step_table_id", text(header.step_table_id)},
          {"transitions", array(transitions)},
          {"reward", real(header.reward)},
          {"reward_components", map({})},
          {"reward_spec", text(header.reward_spec)},
          {"gradient_kind", text(header.gradient_kind)},
          {"tensors", array(tensors)}};
}

Fields with(Fields fields, const std::string& field, const std::string& value) {
  for (auto& [name, packed] : fields) {
    if (name == field) packed = value;
  }
  return fields;
}

class Collection {
 public:
  Collection(const SlotPlan& plan, const std::string& actor) : plan_(plan), actor_(actor) {
    const EncodedRecord honest = make_record(plan, 1, {.actor = actor});
    header_ = decode_record(honest, {}).record.header;
    data_ = text_of(honest.data);
    fields_ = packed_fields_of(header_);
  }

  std::vector<HostileMessage> take() && { return std::move(messages_); }

  void add_framing() {
    const std::string body = body_of(Notice{});
    const std::string sound = message(MessageType::kTicketFailure, body)[0];
    add("an empty frame", {""}, "malformed");
    add("one byte", {"x"}, "malformed");
    add("two empty frames", {"", ""}, "malformed");
    add("an envelope alone", {sound}, "malformed");
    add("an envelope cut by a byte", {sound.substr(0, 31), body}, "malformed");
    add("an envelope with a byte more", {sound + "x", body}, "malformed");
    add("a frame too many", {sound, body, "", ""}, "malformed");
    add("64 frames", std::vector<std::string>(64, "x"), "malformed");
    add("65 frames", std::vector<std::string>(65, sound), "malformed");
    add("1000 frames", std::vector<std::string>(1000, ""), "malformed");
    add_envelope("another magic", [](EnvelopeBytes& e) { e.magic = "NBF2"; });
    add_envelope("no magic", [](EnvelopeBytes& e) { e.magic = std::string(4, '\0'); });
    add_envelope("another checksum", [](EnvelopeBytes& e) { e.flip = 1; });
    add_envelope("0 frames that are 1", [](EnvelopeBytes& e) { e.num_frames = 0; });
    add_envelope("2 frames that are 1", [](EnvelopeBytes& e) { e.num_frames = 2; });
    add_envelope("255 frames that are 1", [](EnvelopeBytes& e) { e.num_frames = 255; });
    add_envelope("a reserved byte", [](EnvelopeBytes& e) { e.reserved = 0x100; });
    add_envelope("another reserved byte", [](EnvelopeBytes& e) { e.reserved_too = 1; });
    for (const int type : {0, 10, 63, 64, 78, 127, 128, 255})
      add_envelope(fmt::format("type {}", type), [type](EnvelopeBytes& e) { e.type = static_cast<std::uint8_t>(type); });
  }

  void add_types() {
    for (int type = static_cast<int>(MessageType::kWelcome); type <= static_cast<int>(kLastOfLearner); ++type)
      add(fmt::format("the learner's own type {}", type), message(static_cast<MessageType>(type), body_of(Notice{})), "bad_message");
    add("a request for weights on the control socket", message(MessageType::kSnapshotRequest, body_of(SnapshotRequest{0})), "bad_message");
  }

  void add_bodies() {
    using namespace pack;
    const auto failure = [&](const std::string& name, const std::string& body) {
      add("a body that is " + name, message(MessageType::kTicketFailure, body), "bad_message");
    };
    failure("empty", "");
    failure("nil", "\xC0");
    failure("an array", array({}));
    failure("a text", text("x"));
    failure("a map of 2^32-1 fields", map_of(0xFFFFFFFF));
    failure("an array of 2^32-1 items", array_of(0xFFFFFFFF));
    failure("a text of 2^32-1 bytes", "\xDB\xFF\xFF\xFF\xFF");
    failure("9 arrays deep", std::string(9, '\x91') + "\xC0");
    failure("100000 arrays deep", std::string(100'000, '\x91') + "\xC0");
    failure("binary", std::string("\xC4\x01x", 3));
    failure("an extension", std::string("\xD4\x01x", 3));
    failure("a byte that MessagePack does not have", "\xC1");
    const Fields good{{"ticket_id", number(1)}, {"reason", text("x")}};
    failure("followed by a byte", map(good) + "x");
    failure("cut by a byte", map(good).substr(0, map(good).size() - 1));
    failure("without a field", map({good[0]}));
    failure("with a field twice", map({good[0], good[0], good[1]}));
    failure("with a field more", map({good[0], good[1], {"more", number(1)}}));
    failure("in another order", map({good[1], good[0]}));
    failure("of other types", map({{"ticket_id", text("1")}, good[1]}));
    failure("with a negative number", map({{"ticket_id", negative(-1)}, good[1]}));
    failure("with a text that is not UTF-8", map({good[0], {"reason", text("\xFF")}}));
    failure("with a text above its cap", map({good[0], {"reason", text(std::string(4097, 'x'))}}));
  }

  void add_hellos() {
    using namespace pack;
    const auto hello = [&](std::uint64_t version, const std::string& id, const std::string& digest) {
      return message(MessageType::kHello, map({{"protocol_version", number(version)},
                                               {"actor_id", text(id)},
                                               {"host", text("h")},
                                               {"pid", number(1)},
                                               {"base_digest", text(digest)}}));
    };
    add("a hello of a future version", hello(2, actor_, ""), "refusal");
    add("a hello of version 0", hello(0, actor_, ""), "refusal");
    add("a hello of version 2^32-1", hello(0xFFFFFFFF, actor_, ""), "refusal");
    add("a hello without an id", hello(1, "", ""), "refusal");
    add("a hello with an id of 257 bytes", hello(1, std::string(257, 'a'), ""), "bad_message");
    add("a hello with another base model", hello(1, actor_, "base-2"), "refusal");
    add("a hello that is a heartbeat", message(MessageType::kHello, body_of(Heartbeat{})), "bad_message");
    auto damaged = hello(1, actor_, "");
    damaged[1].back() ^= 1;
    add("a damaged hello", damaged, "bad_message");
  }

  void add_heartbeats() {
    using namespace pack;
    const auto beat = [&](const std::string& seconds, const std::string& counters) {
      return message(MessageType::kHeartbeat, map({{"actor_id", text("a")},
                                                   {"ticket_id", number(0)},
                                                   {"stage", text("s")},
                                                   {"steps_done", number(0)},
                                                   {"version", number(0)},
                                                   {"digest", text("d")},
                                                   {"peak_rss_bytes", number(0)},
                                                   {"stage_seconds", seconds},
                                                   {"counters", counters}}));
    };
    add("seconds that are no number", beat(map({{"a", real(kNaN)}}), map({})), "bad_message");
    add("infinite seconds", beat(map({{"a", real(-kInfinity)}}), map({})), "bad_message");
    add("a key twice", beat(map({}), map({{"a", number(1)}, {"a", number(2)}})), "bad_message");
    add("keys that do not ascend", beat(map({}), map({{"b", number(1)}, {"a", number(2)}})), "bad_message");
    Fields many;
    for (int i = 0; i < 257; ++i) many.emplace_back(std::to_string(1000 + i), number(1));
    add("257 counters", beat(map({}), map(many)), "bad_message");
    add("counters that are texts", beat(map({}), map({{"a", text("1")}})), "bad_message");
  }

  void add_record_fields() {
    using H = RecordHeader;
    add_header("another run", "unknown_run", [](H& h) { h.run_id = "run-2"; });
    add_header("slot -1", "bad_header", [](H& h) { h.slot = -1; });
    add_header("a slot behind the last", "unknown_slot", [](H& h) { h.slot = 32; });
    add_header("slot 2^62", "unknown_slot", [](H& h) { h.slot = std::int64_t{1} << 62; });
    add_header("update -1", "bad_header", [](H& h) { h.update = -1; });
    add_header("another update", "unknown_slot", [](H& h) { h.update = 3; });
    add_header("ticket 0", "unknown_ticket", [](H& h) { h.ticket_id = 0; });
    add_header("ticket 2^64-1", "unknown_ticket", [](H& h) { h.ticket_id = ~0ULL; });
    add_header("version -1", "bad_header", [](H& h) { h.version = -1; });
    add_header("a version of the future", "unknown_version", [](H& h) { h.version = 1'000'000; });
    add_header("another digest", "bad_digest", [](H& h) { h.digest = "digest-1"; });
    add_header("no digest", "bad_digest", [](H& h) { h.digest = ""; });
    add_header("a prompt of its own", "bad_header", [](H& h) { h.prompt = "a huge star"; });
    add_header("prompt -1", "bad_header", [](H& h) { h.prompt_index = -1; });
    add_header("another seed", "bad_header", [](H& h) { ++h.seed; });
    add_header("no tokens", "bad_header", [](H& h) { h.token_ids = {}; });
    add_header("a token outside of the vocabulary", "bad_header", [](H& h) { h.token_ids = {1, 1'000'000}; });
    add_header("a negative token", "bad_header", [](H& h) { h.token_ids = {1, -1}; });
    add_header("another gradient kind", "bad_header", [](H& h) { h.gradient_kind = "terminal"; });
    add_header("an evaluation that is a record", "bad_header", [](H& h) { h.kind = TicketKind::kEvaluate; });
    add_header("a relabelling that nobody asked for", "bad_header", [](H& h) { h.kind = TicketKind::kRelabel; });
    add_header("a reward that is no number", "non_finite", [](H& h) { h.reward = kNaN; });
    add_header("an infinite reward", "non_finite", [](H& h) { h.reward = kInfinity; });
    add_header("a part of the reward that is no number", "non_finite", [](H& h) { h.reward_components = {{"a", kNaN}}; });
    add_header("another step table", "bad_transitions", [](H& h) { h.step_table_id = "table-2"; });
    add_header("no transitions", "bad_transitions", [](H& h) { h.transitions.clear(); });
    add_header("transitions in another order", "bad_transitions", [](H& h) { std::ranges::reverse(h.transitions); });
    add_header("step -1", "bad_transitions", [](H& h) { h.transitions.front().step = -1; });
    add_header("another timestep", "bad_transitions", [](H& h) { ++h.transitions.front().timestep; });
    add_header("a transition less than rows", "bad_tensor", [](H& h) { h.transitions.pop_back(); });
  }

  void add_record_bodies() {
    using namespace pack;
    const auto body = [&](const std::string& name, const std::string& packed, const std::string& expected = "bad_header") {
      add("a record whose header is " + name, message(MessageType::kRecord, packed, data_), expected);
    };
    body("empty", "");
    body("of the next protocol version", map(with(fields_, "protocol_version", number(2))), "version_mismatch");
    body("above 64 KiB", map(fields_) + std::string(70'000, 'x'), "too_large");
    body("of an unknown kind", map(with(fields_, "kind", number(3))));
    body("with 2^32-1 tensors", map(with(fields_, "tensors", array_of(0xFFFFFFFF))));
    body("with 2^32-1 tokens", map(with(fields_, "token_ids", array_of(0xFFFFFFFF))));
    body("with 2^32-1 parts of the reward", map(with(fields_, "reward_components", map_of(0xFFFFFFFF))));
    body("with 65 tensors", map(with(fields_, "tensors", array(std::vector<std::string>(65, number(1))))));
    body("with 1025 tokens", map(with(fields_, "token_ids", array(std::vector<std::string>(1025, "\x01")))));
    body("with a whole number for a reward", map(with(fields_, "reward", number(1))));
    body("with a text for a slot", map(with(fields_, "slot", text("1"))));
    body("with a slot of 64 bits", map(with(fields_, "slot", number(1ULL << 63))));
    Fields doubled = fields_, swapped = fields_, extra = fields_;
    doubled.insert(doubled.begin() + 3, fields_[3]);
    std::swap(swapped[3], swapped[4]);
    extra.emplace_back("more", number(1));
    body("with its slot twice", map(doubled));
    body("with fields in another order", map(swapped));
    body("with a field more", map(extra));
    body("with a run id that is not UTF-8", map(with(fields_, "run_id", text("\xC0\x80"))));
  }

  void add_tables() {
    using E = TensorEntry;
    constexpr std::int64_t kHuge = std::int64_t{1} << 62;
    add_table("a dimension of 0", [](E& e) { e.shape[1] = 0; });
    add_table("a negative dimension", [](E& e) { e.shape[1] = -1; });
    add_table("two negative dimensions", [](E& e) { e.shape[1] = -1, e.shape[0] *= -1; });
    add_table("more elements than 64 bits", [](E& e) { e.shape = {kHuge, kHuge, 4, 4}; });
    add_table("elements that wrap to the right number", [](E& e) { e.shape[0] += kHuge, e.shape[1] = 4; });
    add_table("9 dimensions", [](E& e) { e.shape.insert(e.shape.begin(), 5, 1); });
    add_table("a byte more than its shape", [](E& e) { ++e.size; });
    add_table("a byte less than its shape", [](E& e) { --e.size; });
    add_table("2^64-1 bytes", [](E& e) { e.size = ~0ULL; });
    add_table("a place that is not aligned", [](E& e) { ++e.offset; });
    add_table("a place behind the frame", [](E& e) { e.offset = 1 << 20; });
    add_table("a place that wraps", [](E& e) { e.offset = ~0ULL - 63; });
    add_table("another type of another size", [](E& e) { e.dtype = DType::kF64; });
    add_table("another type of the same size", [](E& e) { e.dtype = DType::kI32; });
    add_table("no name", [](E& e) { e.name.clear(); });
    add_table("the name of another", [](E& e) { e.name.assign(1, 'x'); });
    add_table("a name that nobody knows", [](E& e) { e.name = "eps_behavioux"; });
    add_header("no tensors", "bad_tensor", [](RecordHeader& h) { h.tensors.clear(); });
    add_header("tensors in another order", "bad_tensor", [](RecordHeader& h) { std::swap(h.tensors[0], h.tensors[1]); });
    add_record("a record without a tensor", make_record(plan_, 1, {.without = "eps_reference"}), "bad_tensor");
    add_record("a record with a tensor more", make_record(plan_, 1, {.extra = "surprise"}), "bad_tensor");
    add_record("a record of another latent shape", make_record(plan_, 1, {.channels = 3}), "bad_tensor");
  }

  void add_data() {
    const std::string header = body_of(header_);
    const auto frame = [&](const std::string& name, const std::string& data, const std::string& expected) {
      add("a data frame " + name, message(MessageType::kRecord, header, data), expected);
    };
    frame("that is empty", "", "bad_tensor");
    frame("cut by a byte", data_.substr(0, data_.size() - 1), "bad_tensor");
    frame("with a byte more", data_ + "x", "bad_tensor");
    for (const float value :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
      std::string poisoned = data_;
      std::memcpy(poisoned.data() + poisoned.size() - sizeof value, &value, sizeof value);
      frame(fmt::format("that holds {}", value), poisoned, "non_finite");
    }
    add("a record without its data frame", message(MessageType::kRecord, header), "bad_tensor");
    auto damaged = message(MessageType::kRecord, header, data_);
    damaged[2].front() ^= 1;
    add("a damaged data frame", damaged, "bad_checksum");
    // A damaged name would be a fault of the header; damage in a number is seen by the checksum alone.
    damaged = message(MessageType::kRecord, header, data_);
    damaged[1][damaged[1].find(header_.gradient_kind)] ^= 2;
    add("a damaged header", damaged, "bad_checksum");
  }

  void add_replays() {
    add_record("a record that was accepted before", make_record(plan_, 0), "duplicate");
    add_record("a record of a slot that was discarded", make_record(plan_, 3), "unknown_slot");
    add_record("a record of a slot that was never issued", make_record(plan_, 9), "unknown_ticket");
  }

  void add_others() {
    EvaluationResult result;
    result.ticket_id = 1'000'000'000'000;
    add("an evaluation that nobody asked for", message(MessageType::kEvaluation, body_of(result)), "duplicate");
    result.table = header_.tensors;
    add("an evaluation without its data", message(MessageType::kEvaluation, body_of(result)), "bad_message");
    auto damaged = message(MessageType::kEvaluation, body_of(result), data_);
    damaged[2].front() ^= 1;
    add("a damaged evaluation", damaged, "bad_message");
    add("an evaluation that is a notice", message(MessageType::kEvaluation, body_of(Notice{})), "bad_message");
    add("the failure of somebody else's ticket", message(MessageType::kTicketFailure, body_of(TicketFailure{1, "x"})), "noted");
    add("the failure of no ticket", message(MessageType::kTicketFailure, body_of(TicketFailure{~0ULL, "x"})), "noted");
    add("the states of a slot that is not relabelled", message(MessageType::kStatesRequest, body_of(StatesRequest{1})), "no_states");
    add("the states of slot -2^63", message(MessageType::kStatesRequest, body_of(StatesRequest{std::numeric_limits<std::int64_t>::min()})),
        "no_states");
  }

 private:
  // A whole message with right checksums. Requests rise, or the answer to one would be given to the next.
  std::vector<std::string> message(MessageType type, const std::string& body) {
    EnvelopeBytes envelope;
    envelope.type = static_cast<std::uint8_t>(type);
    envelope.request = ++last_request_;
    envelope.body_crc32c = sum_of(body);
    return {envelope.text(), body};
  }
  std::vector<std::string> message(MessageType type, const std::string& body, const std::string& data) {
    EnvelopeBytes envelope;
    envelope.type = static_cast<std::uint8_t>(type);
    envelope.num_frames = 2;
    envelope.request = ++last_request_;
    envelope.body_crc32c = sum_of(body);
    envelope.data_crc32c = sum_of(data);
    return {envelope.text(), body, data};
  }
  void add(std::string name, std::vector<std::string> frames, std::string expected) {
    messages_.push_back({std::move(name), std::move(frames), std::move(expected)});
  }
  void add_envelope(const std::string& name, const std::function<void(EnvelopeBytes&)>& change) {
    EnvelopeBytes envelope;
    envelope.type = static_cast<std::uint8_t>(MessageType::kTicketFailure);
    change(envelope);
    add("an envelope with " + name, {envelope.text(), body_of(Notice{})}, "malformed");
  }
  void add_record(const std::string& name, const EncodedRecord& record, const std::string& expected) {
    add(name, message(MessageType::kRecord, text_of(record.header), text_of(record.data)), expected);
  }
  void add_header(const std::string& name, const std::string& expected, const std::function<void(RecordHeader&)>& change) {
    RecordHeader header = header_;
    change(header);
    add("a record with " + name, message(MessageType::kRecord, body_of(header), data_), expected);
  }
  // Of the first tensor of the table.
  void add_table(const std::string& name, const std::function<void(TensorEntry&)>& change) {
    add_header("a tensor with " + name, "bad_tensor", [&change](RecordHeader& h) { change(h.tensors.front()); });
  }

  const SlotPlan& plan_;
  std::string actor_;
  RecordHeader header_;
  std::string data_;
  Fields fields_;
  std::uint64_t last_request_ = 0;
  std::vector<HostileMessage> messages_;
};

}  // namespace

std::vector<HostileMessage> hostile_messages(const SlotPlan& plan, const std::string& actor) {
  Collection collection(plan, actor);
  collection.add_framing();
  collection.add_types();
  collection.add_bodies();
  collection.add_hellos();
  collection.add_heartbeats();
  collection.add_record_fields();
  collection.add_record_bodies();
  collection.add_tables();
  collection.add_data();
  collection.add_replays();
  collection.add_others();
  return std::move(collection).take();
}

}  // namespace nabla::testing
