// What a hostile peer costs a learner with keys: how fast an honest actor's records are taken alone and under attack, in rounds that alternate, and
// how much memory the learner's process takes while it is attacked. The attacker is a process of its own at another address of this machine (127.0.0.2) that
// runs only when a core is idle (SCHED_IDLE), so that what it costs is the learner's work and not the attacker's. On a machine that others use, the processor
// time of this process (learner and honest actor) for each record says more than records a second. JSON on standard output; `hostile_load short` shows that it works.
//   null_flood   no key: the library's plain handshake, then frames without end, again and again
//   curve_flood  no key: claims to have one, then sends a frame of 60 MiB instead of the handshake
//   nonsense     a key of the allow-list and messages that are none: it is turned away
#include "common/error.h"
#include "common/heap.h"
#include "protocol/wire_socket.h"
#include "tests/bench/median.h"
#include "tests/protocol/keyed_learner.h"
#include "tests/protocol/zmtp_attacker.h"

#include <nlohmann/json.hpp>

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <iostream>
#include <new>
#include <thread>

namespace nabla {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kFrameBytes = 64 * 1024;
constexpr const char* kAttackerAddress = "127.0.0.2";

// What an attacker has done so far, in memory that it shares with this process.
struct Deeds {
  std::atomic<std::uint64_t> connections{0}, bytes{0};
};

// A child that attacks while it is let go, and rests otherwise.
class Attack {
 public:
  explicit Attack(const std::function<void(Deeds&)>& once)
      : deeds_(::mmap(nullptr, sizeof(Deeds), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    if (deeds_ == MAP_FAILED) throw failure("[bench] no shared memory");
    new (deeds_) Deeds();
    child_ = ::fork();
    if (child_ < 0) throw failure("[bench] cannot fork");
    if (child_ > 0) {
      rest();
      return;
    }
    sched_param parameters{};
    ::sched_setscheduler(0, SCHED_IDLE, &parameters);
    while (true) {
      try {
        once(deeds());
      } catch (const std::exception&) {
        ::usleep(1000);
      }
    }
  }
  ~Attack() {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    ::munmap(deeds_, sizeof(Deeds));
  }
  Attack(const Attack&) = delete;
  Attack& operator=(const Attack&) = delete;

  void go() const { ::kill(child_, SIGCONT); }
  void rest() const { ::kill(child_, SIGSTOP); }
  Deeds& deeds() const { return *static_cast<Deeds*>(deeds_); }

 private:
  void* deeds_;
  pid_t child_ = -1;
};

void flood(const std::string& endpoint, std::string_view mechanism, const std::string& head, Deeds& deeds) {
  static const std::string frames = [] {
    std::string bytes;
    for (int i = 0; i < 16; ++i) bytes += ZmtpAttacker::frame('\1', kFrameBytes) + std::string(kFrameBytes, 'x');
    return bytes;
  }();
  ZmtpAttacker attacker(endpoint, kAttackerAddress);
  attacker.send(ZmtpAttacker::greeting(mechanism) + head);
  if (attacker.is_connected()) ++deeds.connections;
  for (std::size_t sent = frames.size(); sent == frames.size(); deeds.bytes += sent) sent = attacker.send(frames);
}

// Sends messages that are none over one connection for ever.
void talk_nonsense(const std::string& endpoint, const ActorKeys& keys, Deeds& deeds) {
  const WireContext context;
  WireSocket socket(context, SocketKind::kDealer, std::size_t{1} << 20);
  socket.use_keys(keys);
  socket.connect(fmt::format("tcp://{}:0;{}", kAttackerAddress, endpoint.substr(std::string("tcp://").size())));
  const std::string part(1024, 'x');
  const Bytes frame{nullptr, std::as_bytes(std::span(part))};
  while (true) {
    if (socket.send_frames({frame, frame})) {
      deeds.bytes += 2 * part.size();
    } else {
      ::usleep(100);
    }
  }
}

struct Pace {
  double records_per_s = 0, cpu_s_per_record = 0;  // of this process
};

double cpu_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// The honest actor: records one after the other for a time.
Pace deliver(FleetClient& client, const std::vector<EncodedRecord>& records, double seconds) {
  const auto start = Clock::now();
  const double cpu = cpu_seconds();
  std::int64_t done = 0;
  double elapsed = 0;
  while (elapsed < seconds) {
    const auto slot = static_cast<std::size_t>(done++) % records.size();
    client.send_record(records[slot], 12, static_cast<std::int64_t>(slot));
    elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return {static_cast<double>(done) / elapsed, (cpu_seconds() - cpu) / static_cast<double>(done)};
}

// Samples the memory of this process while it lives.
class MemoryWatch {
 public:
  MemoryWatch()
      : before_(resident_bytes()), most_(before_), thread_([this](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
            most_ = std::max(most_.load(), resident_bytes());
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
          }
        }) {}
  std::int64_t growth() const { return most_ - before_; }

 private:
  std::int64_t before_;
  std::atomic<std::int64_t> most_;
  std::jthread thread_;
};

std::vector<EncodedRecord> make_records() {
  const std::vector<float> values(32 * 1024, 0.5F);
  const TensorSource source{DType::kF32, {2, 1, 128, 128}, std::as_bytes(std::span(values))};
  const PackedTensors packed = pack_tensors({{"x", source}, {"y", source}});
  std::vector<EncodedRecord> records;
  for (std::int64_t slot = 0; slot < 8; ++slot) records.push_back(encode_record(sample_header(slot), packed));
  return records;
}

nlohmann::ordered_json measure(const std::string& name, int rounds, double seconds,
                               const std::function<std::function<void(Deeds&)>(const KeyedLearner&, const ActorKeys&)>& attack_of) {
  KeyedLearner learner;
  const ActorKeys bad = learner.actor("bad");
  learner.start();
  FleetClient client(client_of(learner.endpoint(), learner.local()), {});
  client.connect(hello_from("actor"));
  const auto records = make_records();
  deliver(client, records, seconds);
  const Attack attack(attack_of(learner, bad));
  std::vector<double> alone, attacked, ratios, cpu_ratios;
  std::int64_t growth = 0;
  for (int round = 0; round < rounds; ++round) {
    const Pace before = deliver(client, records, seconds);
    const MemoryWatch memory;
    attack.go();
    const Pace during = deliver(client, records, seconds);
    attack.rest();
    alone.push_back(before.records_per_s);
    attacked.push_back(during.records_per_s);
    ratios.push_back(during.records_per_s / before.records_per_s);
    cpu_ratios.push_back(during.cpu_s_per_record / before.cpu_s_per_record);
    growth = std::max(growth, memory.growth());
  }
  nlohmann::ordered_json json{{"attack", name},
                              {"rounds", rounds},
                              {"records_per_s_alone", median(alone)},
                              {"records_per_s_attacked", median(attacked)},
                              {"slow_down", 1 - median(ratios)},
                              {"more_cpu_a_record", median(cpu_ratios) - 1},
                              {"memory_growth_bytes", growth},
                              {"attacker_connections", attack.deeds().connections.load()},
                              {"attacker_bytes", attack.deeds().bytes.load()}};
  for (const char* count : {"connection_storms", "flooding_connections", "quarantined_keys", "quarantined", "quarantined_messages",
                            "malformed", "keys_refused"})
    json[count] = learner.count(count);
  return json;
}

int run(bool brief) {
  const int rounds = brief ? 1 : 51;
  const double seconds = brief ? 0.1 : 0.25;
  auto results = nlohmann::ordered_json::array();
  results.push_back(measure("null_flood", rounds, seconds, [](const KeyedLearner& learner, const ActorKeys&) {
    return [endpoint = learner.endpoint()](Deeds& deeds) { flood(endpoint, "NULL", ZmtpAttacker::ready(), deeds); };
  }));
  results.push_back(measure("curve_flood", rounds, seconds, [](const KeyedLearner& learner, const ActorKeys&) {
    return [endpoint = learner.endpoint()](Deeds& deeds) { flood(endpoint, "CURVE", ZmtpAttacker::frame('\0', 60 << 20), deeds); };
  }));
  results.push_back(measure("nonsense", rounds, seconds, [](const KeyedLearner& learner, const ActorKeys& bad) {
    return [endpoint = learner.endpoint(), bad](Deeds& deeds) { talk_nonsense(endpoint, bad, deeds); };
  }));
  std::cout << nlohmann::ordered_json{{"record_bytes", 2 * 32 * 1024 * 4}, {"round_s", seconds}, {"attacks", results}}.dump(2) << "\n";
  return 0;
}

}  // namespace

}  // namespace nabla

int main(int argc, char** argv) { return nabla::run(argc > 1 && std::string(argv[1]) == "short"); }
