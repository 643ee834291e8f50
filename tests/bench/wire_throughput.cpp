// The wire against bare ZeroMQ, over TCP on this machine. Ours: a record is encoded, sent, received, validated and acknowledged by the parts that a
// run uses (FleetClient, FleetServer, RecordValidator), with the checksum and the finite check on and off; a record is made while the one before
// it is on its way, or one by one. Carried: the same of records that were made before, unchecked. Bare: frames of the same sizes that nobody fills or looks at, answered by a ROUTER (the same pattern; one or two
// in flight) or pushed without answers.
// Rounds alternate between the sides. JSON on standard output; `wire_bench short` moves a few MB to show that it works.
#include "common/error.h"
#include "common/heap.h"
#include "common/json_file.h"
#include "learner/record_validator.h"
#include "protocol/codec.h"
#include "protocol/fleet_client.h"
#include "protocol/fleet_server.h"
#include "tests/bench/median.h"
#include "tests/learner_core/fixture.h"

#include <zmq.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <iostream>
#include <thread>

namespace nabla {

namespace {

using Clock = std::chrono::steady_clock;

enum class Checks { kOff, kOn };

struct Size {
  std::string name;
  std::vector<std::int64_t> latent_shape;  // [C,h,w]; a record holds 8 tensors of 4 rows
  int records;                             // a round
};

RecordRules rules_of(const Size& size, Checks checks) {
  RecordRules rules = testing::small_rules();
  rules.latent_shape = size.latent_shape;
  rules.limits.check_crc = rules.limits.check_finite = checks == Checks::kOn;
  return rules;
}

// A learner that validates and acknowledges.
class Judge : public FleetHandler {
 public:
  Judge(const RecordRules& rules, const SlotPlan& plan) : validator_(rules, plan, journal_) { journal_.publish(0, "digest-0"); }

  std::variant<Welcome, Refusal> on_hello(const Hello&) override { return Welcome{"run-1", "", "", "", "", 0}; }
  Work on_ticket_request(const std::string&) override { return {}; }
  Ack on_record(const std::string&, EncodedRecord record) override {
    const Verdict verdict = validator_.validate(record);
    return {verdict.record->header.ticket_id, verdict.record->header.slot, verdict.reject, verdict.reason, 0, "digest-0"};
  }
  Ack on_evaluation(const std::string&, EvaluationResult) override { return {}; }
  void on_ticket_failed(const std::string&, std::uint64_t, const std::string&) override {}
  void on_heartbeat(const Heartbeat&) override {}
  void on_actor_gone(const std::string&, const std::string&) override {}
  std::optional<Snapshot> on_get_snapshot(std::int64_t) override { return std::nullopt; }
  std::optional<SlotStates> on_get_states(std::int64_t) override { return std::nullopt; }
  void on_tick() override {}

 private:
  VersionJournal journal_;
  RecordValidator validator_;
};

// Our path, one server and one actor.
class OurWire {
 public:
  OurWire(const Size& size, Checks checks)
      : checks_(checks),
        plan_(testing::make_plan(testing::small_config())),
        rules_(rules_of(size, checks)),
        judge_(rules_, plan_),
        server_({}, judge_),
        client_(options(), stop_.get_token()) {
    std::int64_t elements = 4;
    shape_ = {4};
    for (const auto dimension : size.latent_shape) {
      shape_.push_back(dimension);
      elements *= dimension;
    }
    for (const auto& name : tensor_names(rules_.needs)) values_[name].assign(static_cast<std::size_t>(elements), 0.25F);
    for (std::int64_t slot = 0; slot < plan_.slots_per_update(); ++slot) headers_.push_back(testing::header_of(plan_, slot, {}));
    for (std::int64_t slot = 0; slot < 8; ++slot) made_.push_back(make(slot));
    server_.start();
    client_.connect({kProtocolVersion, "bench", "host", 1, ""});
  }

  std::int64_t payload_bytes() const { return static_cast<std::int64_t>(values_.size() * values_.begin()->second.size() * sizeof(float)); }

  // As an actor delivers tickets of four slots: a record is made while the one before it is on its way.
  void deliver(int records) {
    for (int done = 0; done < records; done += 4) {
      const std::int64_t first = done % 8;
      const auto make = [&](std::size_t i) { return this->make(first + static_cast<std::int64_t>(i)); };
      const auto acks = client_.send_records(ticket_of(first), {first, first + 1, first + 2, first + 3}, make);
      for (const Ack& ack : acks) check(ack);
    }
  }

  // The way alone: records that were made before.
  void carry(int records) {
    for (int done = 0; done < records; done += 4) {
      const std::int64_t first = done % 8;
      const auto made = [&](std::size_t i) { return made_[static_cast<std::size_t>(first) + i]; };
      const auto acks = client_.send_records(ticket_of(first), {first, first + 1, first + 2, first + 3}, made);
      for (const Ack& ack : acks) check(ack);
    }
  }

  void carry_one_by_one(int records) {
    for (int i = 0; i < records; ++i) check(client_.send_record(made_[static_cast<std::size_t>(i % 8)], ticket_of(i % 8), i % 8));
  }

  void deliver_one_by_one(int records) {
    for (int i = 0; i < records; ++i) check(client_.send_record(make(i % 8), ticket_of(i % 8), i % 8));
  }

 private:
  FleetClientOptions options() const {
    FleetClientOptions options;
    options.control_endpoint = server_.control_endpoint();
    options.actor_id = "bench";
    return options;
  }

  static std::uint64_t ticket_of(std::int64_t slot) { return static_cast<std::uint64_t>(slot / 4) + 1; }

  static void check(const Ack& ack) {
    if (ack.reject != Reject::kNone) throw failure("[bench] a record was refused: {}", ack.reason);
  }

  // As an actor makes it; without the checksums when nobody will look at them.
  EncodedRecord make(std::int64_t slot) const {
    std::map<std::string, TensorSource> sources;
    for (const auto& [name, values] : values_) sources[name] = {DType::kF32, shape_, std::as_bytes(std::span(values))};
    const PackedTensors packed = pack_tensors(sources);
    RecordHeader header = headers_[static_cast<std::size_t>(slot)];
    if (checks_ == Checks::kOn) return encode_record(std::move(header), packed);
    header.tensors = packed.table;
    return {encode(header), packed.data, 0, 0};
  }

  const Checks checks_;
  const SlotPlan plan_;
  const RecordRules rules_;
  std::vector<std::int64_t> shape_;
  std::map<std::string, std::vector<float>> values_;  // by tensor name
  std::vector<RecordHeader> headers_;                 // of the slots of an update
  std::vector<EncodedRecord> made_;                   // of those that are delivered
  std::stop_source stop_;
  Judge judge_;
  FleetServer server_;
  FleetClient client_;
};

void require(bool success) {
  if (!success) throw failure("[bench] ZeroMQ: {}", zmq_strerror(errno));
}

// Two bare sockets in two contexts; the far one is served by a thread.
class BareWire {
 public:
  enum class Pattern { kRequestReply, kPush };

  // in_flight: messages that may be without an answer.
  BareWire(Pattern pattern, int in_flight, std::int64_t data_bytes)
      : pattern_(pattern),
        in_flight_(in_flight),
        buffers_(kBuffers, std::vector<std::byte>(static_cast<std::size_t>(data_bytes), std::byte{1})),
        near_(zmq_socket(near_context_, pattern == Pattern::kPush ? ZMQ_PUSH : ZMQ_DEALER)),
        far_(zmq_socket(far_context_, pattern == Pattern::kPush ? ZMQ_PULL : ZMQ_ROUTER)) {
    const int high_water = 16, linger = 0;
    for (void* socket : {near_, far_}) {
      require(zmq_setsockopt(socket, ZMQ_RCVHWM, &high_water, sizeof high_water) == 0);
      require(zmq_setsockopt(socket, ZMQ_SNDHWM, &high_water, sizeof high_water) == 0);
      require(zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger) == 0);
    }
    std::array<char, 256> endpoint{};
    std::size_t length = endpoint.size();
    require(zmq_bind(far_, "tcp://127.0.0.1:*") == 0);
    require(zmq_getsockopt(far_, ZMQ_LAST_ENDPOINT, endpoint.data(), &length) == 0);
    require(zmq_connect(near_, endpoint.data()) == 0);
  }
  ~BareWire() {
    zmq_close(near_);
    zmq_close(far_);
    zmq_ctx_term(near_context_);
    zmq_ctx_term(far_context_);
  }
  BareWire(const BareWire&) = delete;
  BareWire& operator=(const BareWire&) = delete;

  void deliver(int records) {
    std::thread far([&] {
      for (int i = 0; i < records; ++i) take_one();
    });
    for (int i = 0; i < records; ++i) {
      auto& data = buffers_[static_cast<std::size_t>(i) % kBuffers];
      send(near_, data, 32, true);
      send(near_, data, kHeaderBytes, true);
      send(near_, data, data.size(), false);
      if (pattern_ == Pattern::kRequestReply && i + 1 >= in_flight_) receive(near_);
    }
    for (int i = 1; pattern_ == Pattern::kRequestReply && i < in_flight_; ++i) receive(near_);
    far.join();
  }

 private:
  static constexpr std::size_t kHeaderBytes = 1800, kAckBytes = 100;  // about what ours have
  static constexpr std::size_t kBuffers = 4;                          // as many as a ticket has records: none lies in the cache ready made

  void take_one() {
    std::array<char, 16> id{};
    int id_bytes = 0;
    if (pattern_ == Pattern::kRequestReply) require((id_bytes = zmq_recv(far_, id.data(), id.size(), 0)) >= 0);
    receive(far_);
    if (pattern_ == Pattern::kPush) return;
    require(zmq_send(far_, id.data(), static_cast<std::size_t>(id_bytes), ZMQ_SNDMORE) >= 0);
    send(far_, buffers_.front(), 32, true);
    send(far_, buffers_.front(), kAckBytes, false);
  }

  // Without a copy.
  static void send(void* socket, std::vector<std::byte>& data, std::size_t bytes, bool more) {
    zmq_msg_t message;
    require(zmq_msg_init_data(
                &message, data.data(), bytes, [](void*, void*) {}, nullptr) == 0);
    require(zmq_msg_send(&message, socket, more ? ZMQ_SNDMORE : 0) >= 0);
  }

  static void receive(void* socket) {
    for (bool more = true; more;) {
      zmq_msg_t message;
      require(zmq_msg_init(&message) == 0 && zmq_msg_recv(&message, socket, 0) >= 0);
      more = zmq_msg_more(&message) != 0;
      zmq_msg_close(&message);
    }
  }

  const Pattern pattern_;
  const int in_flight_;
  std::vector<std::vector<std::byte>> buffers_;
  void* near_context_ = zmq_ctx_new();
  void* far_context_ = zmq_ctx_new();
  void* near_;
  void* far_;
};

double rounded(double value) { return std::round(value * 1000) / 1000; }

// MB/s of each side by round, the processor time that a record costs in all threads together, and the medians of the rounds' ratios.
nlohmann::ordered_json measure(const Size& size, int rounds) {
  OurWire checked(size, Checks::kOn), unchecked(size, Checks::kOff);
  const std::int64_t bytes = checked.payload_bytes();
  BareWire answered(BareWire::Pattern::kRequestReply, 1, bytes), overlapped(BareWire::Pattern::kRequestReply, 2, bytes),
      pushed(BareWire::Pattern::kPush, 1, bytes);
  const std::vector<std::pair<std::string, std::function<void(int)>>> sides{
      {"bare_request_reply", [&](int n) { answered.deliver(n); }},
      {"ours_unchecked", [&](int n) { unchecked.deliver(n); }},
      {"ours_checked", [&](int n) { checked.deliver(n); }},
      {"bare_two_in_flight", [&](int n) { overlapped.deliver(n); }},
      {"ours_unchecked_one_by_one", [&](int n) { unchecked.deliver_one_by_one(n); }},
      {"ours_checked_one_by_one", [&](int n) { checked.deliver_one_by_one(n); }},
      {"bare_pushed", [&](int n) { pushed.deliver(n); }},
      {"ours_carried", [&](int n) { unchecked.carry(n); }},
      {"ours_carried_one_by_one", [&](int n) { unchecked.carry_one_by_one(n); }},
  };
  std::map<std::string, std::vector<double>> rates, cpu_ms;
  for (int round = -1; round < rounds; ++round) {  // the first one warms up
    for (const auto& [name, deliver] : sides) {
      const auto start = Clock::now();
      const auto cpu_start = std::clock();
      deliver(size.records);
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      if (round < 0) continue;
      rates[name].push_back(static_cast<double>(bytes) * size.records / seconds / 1e6);
      cpu_ms[name].push_back(static_cast<double>(std::clock() - cpu_start) * 1e3 / CLOCKS_PER_SEC / size.records);
    }
  }
  nlohmann::ordered_json json{{"record", size.name}, {"payload_bytes", bytes}, {"records_a_round", size.records}, {"rounds", rounds}};
  for (const auto& [name, deliver] : sides) json["mb_per_s"][name] = std::round(median(rates[name]));
  for (const auto& [name, deliver] : sides) json["cpu_ms_per_record"][name] = rounded(median(cpu_ms[name]));
  for (const std::string ours : {"ours_unchecked", "ours_checked", "ours_unchecked_one_by_one", "ours_checked_one_by_one", "ours_carried",
                                 "ours_carried_one_by_one"}) {
    for (const std::string bare : {"bare_request_reply", "bare_two_in_flight", "bare_pushed"}) {
      std::vector<double> ratios;
      for (std::size_t i = 0; i < rates[ours].size(); ++i) ratios.push_back(rates[ours][i] / rates[bare][i]);
      json["ratio"][ours + "_to_" + bare] = {
          {"median", rounded(median(ratios))}, {"least", rounded(std::ranges::min(ratios))}, {"most", rounded(std::ranges::max(ratios))}};
    }
  }
  return json;
}

nlohmann::ordered_json describe_machine() {
  std::ifstream info("/proc/cpuinfo");
  std::string line, model = "unknown";
  while (model == "unknown" && std::getline(info, line)) {
    if (line.starts_with("model name")) model = line.substr(line.find(':') + 2);
  }
  std::array<double, 1> load{};
  getloadavg(load.data(), 1);
  return {{"cpu", model}, {"cores", std::thread::hardware_concurrency()}, {"load_before", rounded(load[0])}};
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d", std::gmtime(&now));
  return text.data();
}

int run(bool is_short) {
  const std::vector<Size> sizes{{"256 KiB", {4, 16, 32}, is_short ? 8 : 512}, {"4 MiB", {4, 64, 128}, is_short ? 4 : 48}};
  nlohmann::ordered_json json{
      {"date", today()}, {"machine", describe_machine()}, {"command", is_short ? "wire_bench short" : "wire_bench"}};
  // Like for like: both sides have as many records in flight, one or two.
  json["targets"] = {{"ours_unchecked_one_by_one_to_bare_request_reply", 0.8},
                     {"ours_checked_one_by_one_to_bare_request_reply", 0.6},
                     {"ours_carried_one_by_one_to_bare_request_reply", 0.9},
                     {"ours_carried_to_bare_two_in_flight", 0.9}};
  for (const auto& size : sizes) json["sizes"].push_back(measure(size, is_short ? 2 : 15));
  std::cout << json.dump(2) << '\n';
  return 0;
}

}  // namespace

}  // namespace nabla

int main(int count, char** arguments) {
  nabla::keep_freed_memory();  // as the program does; for both sides
  try {
    return nabla::run(count > 1 && std::string(arguments[1]) == "short");
  } catch (const nabla::Error& error) {
    std::cerr << error.what() << '\n';
    return static_cast<int>(error.code());
  }
}
