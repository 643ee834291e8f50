#include "common/files.h"
#include "protocol/fleet_client.h"
#include "protocol/log_format.h"
#include "protocol/message_fields.h"
#include "protocol/wire_socket.h"
#include "tests/protocol/fake_learner.h"
#include "tests/testing.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <type_traits>

namespace nabla {

namespace {

using Row = std::vector<std::string>;

std::vector<std::string> document() {
  std::istringstream text(read_file(NABLA_SOURCE_DIR "/protocol/WIRE_FORMAT.md", std::size_t{1} << 20));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

Row cells_of(const std::string& line) {
  Row cells;
  std::istringstream text(line.substr(1));
  for (std::string cell; std::getline(text, cell, '|');) {
    const auto first = cell.find_first_not_of(' '), last = cell.find_last_not_of(' ');
    cells.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
  }
  return cells;
}

// The rows of the first table behind a line of the document, without its heading, cut to `columns`.
std::vector<Row> table_behind(const std::string& heading, std::size_t columns) {
  const auto lines = document();
  auto line = std::ranges::find(lines, heading);
  REQUIRE_MESSAGE(line != lines.end(), "the document has no line '", heading, "'");
  while (line != lines.end() && !line->starts_with("|")) ++line;
  std::vector<Row> rows;
  for (; line != lines.end() && line->starts_with("|"); ++line) {
    rows.push_back(cells_of(*line));
    rows.back().resize(columns);
  }
  REQUIRE(rows.size() > 2);
  rows.erase(rows.begin(), rows.begin() + 2);
  return rows;
}

template <class T>
struct TypeName;
#define NABLA_NAME(type, name)                \
  template <>                                 \
  struct TypeName<type> {                     \
    static std::string get() { return name; } \
  }
NABLA_NAME(bool, "bool");
NABLA_NAME(double, "float64");
NABLA_NAME(std::int32_t, "int32");
NABLA_NAME(std::int64_t, "int64");
NABLA_NAME(std::uint32_t, "uint32");
NABLA_NAME(std::uint64_t, "uint64");
NABLA_NAME(std::string, "text");
NABLA_NAME(TicketKind, "TicketKind");
NABLA_NAME(DType, "DType");
NABLA_NAME(Reject, "Reject");
NABLA_NAME(WorkState, "WorkState");
NABLA_NAME(Ticket, "Ticket");
NABLA_NAME(SlotOrder, "SlotOrder");
NABLA_NAME(TensorEntry, "TensorEntry");
NABLA_NAME(TransitionRef, "TransitionRef");
#undef NABLA_NAME
template <class T>
struct TypeName<std::vector<T>> {
  static std::string get() { return "list of " + TypeName<T>::get(); }
};
template <class T>
struct TypeName<std::map<std::string, T>> {
  static std::string get() { return "map to " + TypeName<T>::get(); }
};
template <class T>
struct TypeName<std::optional<T>> {
  static std::string get() { return TypeName<T>::get() + " or nil"; }
};

// Name, type and cap of every field of a message, as the encoder and the decoder walk them.
struct FieldTable {
  template <class T>
  void operator()(const char* name, const T&, std::size_t cap = kMaxId) {
    const std::string type = TypeName<T>::get();
    const bool has_cap = type == "text" || type.starts_with("list") || type.starts_with("map");
    rows.push_back({name, type, has_cap ? std::to_string(cap) : ""});
  }
  std::vector<Row> rows;
};

template <class Message>
void check_fields(const std::string& name) {
  FieldTable table;
  const Message message{};
  describe(table, message);
  INFO(name);
  CHECK(table_behind("### " + name, 3) == table.rows);
}

// The bytes of a hex dump: offset, bytes, remark.
std::vector<std::byte> dump(const std::string& name) {
  const auto lines = document();
  auto line = std::ranges::find(lines, "```hex " + name);
  REQUIRE(line != lines.end());
  std::vector<std::byte> bytes;
  for (++line; *line != "```"; ++line) {
    std::istringstream words(line->substr(0, line->find(';')));
    std::string word;
    words >> word;
    CHECK(std::stoul(word, nullptr, 16) == bytes.size());
    while (words >> word) bytes.push_back(static_cast<std::byte>(std::stoul(word, nullptr, 16)));
  }
  return bytes;
}

}  // namespace

TEST_CASE("the document lists every field of every message with its type and cap") {
  check_fields<Hello>("Hello");
  check_fields<Welcome>("Welcome");
  check_fields<Refusal>("Refusal");
  check_fields<Work>("Work");
  check_fields<Ticket>("Ticket");
  check_fields<SlotOrder>("SlotOrder");
  check_fields<RecordHeader>("RecordHeader");
  check_fields<TransitionRef>("TransitionRef");
  check_fields<TensorEntry>("TensorEntry");
  check_fields<Ack>("Ack");
  check_fields<EvaluationResult>("EvaluationResult");
  check_fields<TicketFailure>("TicketFailure");
  check_fields<Heartbeat>("Heartbeat");
  check_fields<Alive>("Alive");
  check_fields<SnapshotRequest>("SnapshotRequest");
  check_fields<Snapshot>("Snapshot");
  check_fields<StatesRequest>("StatesRequest");
  check_fields<SlotStates>("SlotStates");
  check_fields<Notice>("Notice");
  check_fields<PublishEntry>("PublishEntry");
  check_fields<DiscardEntry>("DiscardEntry");
  check_fields<TrainedEntry>("TrainedEntry");
  check_fields<SegmentSummary>("SegmentSummary");
}

TEST_CASE("the document's codes are those of the code") {
  std::vector<Row> rejects, types;
  for (int i = 0; i <= static_cast<int>(last_value(Reject{})); ++i)
    rejects.push_back({std::to_string(i), std::string(name_of(static_cast<Reject>(i)))});
  CHECK(table_behind("## Reject codes", 2) == rejects);

  using enum MessageType;
  for (const auto& [type, name] : std::initializer_list<std::pair<MessageType, const char*>>{{kHello, "hello"},
                                                                                             {kTicketRequest, "ticket_request"},
                                                                                             {kRecord, "record"},
                                                                                             {kEvaluation, "evaluation"},
                                                                                             {kTicketFailure, "ticket_failure"},
                                                                                             {kHeartbeat, "heartbeat"},
                                                                                             {kGoodbye, "goodbye"},
                                                                                             {kSnapshotRequest, "snapshot_request"},
                                                                                             {kStatesRequest, "states_request"},
                                                                                             {kWelcome, "welcome"},
                                                                                             {kRefusal, "refusal"},
                                                                                             {kWork, "work"},
                                                                                             {kAck, "ack"},
                                                                                             {kNoted, "noted"},
                                                                                             {kAlive, "alive"},
                                                                                             {kSnapshot, "snapshot"},
                                                                                             {kNoSnapshot, "no_snapshot"},
                                                                                             {kSayHello, "say_hello"},
                                                                                             {kBadMessage, "bad_message"},
                                                                                             {kRunOver, "run_over"},
                                                                                             {kStates, "states"},
                                                                                             {kNoStates, "no_states"}})
    types.push_back({std::to_string(static_cast<int>(type)), name});
  CHECK(table_behind("### Messages", 2) == types);

  std::string dtypes;
  for (int i = 0; i <= static_cast<int>(last_value(DType{})); ++i)
    dtypes += fmt::format("{}{} {}", i == 0 ? "" : ", ", i, name_of(static_cast<DType>(i)));
  CHECK(table_behind("as integers:", 2)[1] == Row{"DType", dtypes});
}

TEST_CASE("the document's limits and times are the defaults of the code") {
  CHECK(table_behind("## Limits", 2)[0] == Row{"one frame", "64 MiB; the sender of a larger one is disconnected"});
  CHECK(FleetServerOptions{}.max_frame_bytes == std::size_t{64} << 20);
  CHECK(table_behind("## Limits", 2)[1] == Row{"header of a record", fmt::format("{} bytes", RecordLimits{}.max_header_bytes)});
  const FleetClientOptions client;
  CHECK(table_behind("### Time", 2)[0][1].starts_with(fmt::format("every {} ms", client.heartbeat_interval.count())));
  CHECK(FleetServerOptions{}.heartbeat_interval == client.heartbeat_interval);
  CHECK(table_behind("### Time", 2)[1][1].starts_with(fmt::format("nothing heard of it for {} intervals", FleetServerOptions{}.liveness)));
  CHECK(table_behind("### Time", 2)[4][1] == fmt::format("{} s before its first welcome, {} s without a word after it",
                                                         client.connect_deadline.count() / 1000, client.reconnect_deadline.count() / 1000));
}

TEST_CASE("the document's hello is what the encoder writes, and a learner answers it") {
  Hello hello;
  hello.actor_id = "a-1";
  hello.host = "h";
  hello.pid = 7;
  const auto envelope = dump("envelope"), body = dump("body");
  CHECK(copy_of(encode(hello)) == body);

  FakeLearner learner;
  FleetServer server({}, learner);
  server.start();
  const WireContext context;
  WireSocket socket(context, SocketKind::kDealer, std::size_t{1} << 20);
  socket.connect(server.control_endpoint());
  socket.send_frames({own(envelope), own(body)});
  CHECK(learner.wait_for([](const auto& heard) { return !heard.hellos.empty(); }));
  CHECK(learner.heard().hellos.at(0).pid == 7);
  WireMessage answer;
  for (int i = 0; i < 100 && socket.receive(answer) != Received::kMessage; ++i)
    wait_readable(&socket, nullptr, nullptr, std::chrono::milliseconds(100));
  CHECK(answer.type == MessageType::kWelcome);
  CHECK(answer.request == 1);
}

TEST_CASE("the document's log entry is what the log writes") {
  Block block;
  block.type = BlockType::kPublish;
  block.seq = 1;
  block.frames[0] = encode(PublishEntry{0, "d0"});
  const auto expected = dump("block");
  const BlockCheck check = check_block(expected, 0, 1);
  REQUIRE(check.reason == "");
  block.frame_crc32c[0] = check.block.frame_crc32c[0];
  const BlockEnds ends = make_block_ends(block);
  std::vector<std::byte> written;
  for (const auto& piece : pieces_of(block, ends)) written.insert(written.end(), piece.begin(), piece.end());
  CHECK(written == expected);
}

}  // namespace nabla
