// What a learner takes: JSON on standard output; `fleet_load short` shows that it works.
//   durable  Records of four actors are received, validated, appended with fsync and acknowledged, against as many bytes that are written to the same disk
//            in groups of 16 and synced after each, by nobody else and without a look at them. Rounds alternate.
//   crowd    256 actors (eight processes of 32) deliver as fast as they may to a learner that trains more slowly: how evenly they are served, and what the
//            learner's process takes beside the records that its tickets may bring, (fleet.max_policy_lag + 1) updates of them.
#include "common/clock.h"
#include "common/error.h"
#include "common/files.h"
#include "common/heap.h"
#include "learner/ingest.h"
#include "protocol/fleet_client.h"
#include "tests/chaos/fake_record.h"
#include "tests/chaos/figures.h"
#include "tests/chaos/proxy.h"
#include "tests/common/temporary_folder.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <iostream>
#include <memory>
#include <thread>
#include <vector>

namespace nabla::chaos {

namespace {

using Json = nlohmann::ordered_json;

struct Load {
  Shape shape;
  std::vector<std::int64_t> latent_shape;
};

Load load_of(std::int64_t slots_per_update, std::int64_t updates, std::int64_t ticket_size, std::int64_t lag,
             std::vector<std::int64_t> latent_shape) {
  Load load;
  load.shape.slots_per_update = slots_per_update;
  load.shape.slots = slots_per_update * updates;
  load.shape.ticket_size = ticket_size;
  load.shape.max_policy_lag = lag;
  load.shape.ticket_timeout_s = 60;
  load.shape.lockstep = false;
  load.latent_shape = std::move(latent_shape);
  return load;
}

RecordRules rules_for(const Load& load) {
  RecordRules rules = rules_of(load.shape);
  rules.latent_shape = load.latent_shape;
  return rules;
}

// The weights stay what they are from version to version: here nothing is learned.
Snapshot version_of(const Load& load, std::int64_t version) { return snapshot_of(version, first_weights(load.shape)); }

EncodedRecord make_record(const Load& load, const SlotPlan& plan, const std::string& actor, std::int64_t version, std::int64_t slot) {
  const std::string digest = digest_of_weights(first_weights(load.shape));
  return fake_record(load.shape, rules_for(load), plan, slot, {actor, version, digest, digest, slot});
}

// Server, authority, queue and log of a run.
class Learner {
 public:
  Learner(const Load& load, Durability durability, std::uint16_t port)
      : load_(load),
        plan_(plan_of(load.shape)),
        queue_(plan_.slots_per_update()),
        ingest_(ingest_options(), plan_, rules_for(load), versions_, queue_),
        log_(TrajectoryLog::create({fmt::format("{}/log", folder_.path()), durability}, {kRunId, "", text_of(load.shape)})) {
    ingest_.publish(version_of(load, 0));
    FleetServerOptions options;
    options.control_address = fmt::format("tcp://127.0.0.1:{}", port);
    server_ = std::make_unique<FleetServer>(options, ingest_);
    server_->start();
  }
  // Actors hear that the run is over.
  void finish() {
    server_->finish();
    server_.reset();
  }

  // Waits for the records of the next update, and forgets them.
  void take_update() {
    while (true) {
      if (const auto records = queue_.take_for(update_, std::chrono::milliseconds(100))) return forget(*records);
      if (const auto error = ingest_.failure()) std::rethrow_exception(error);
    }
  }
  void publish() { ingest_.publish(version_of(load_, update_)); }
  std::size_t connected() const { return ingest_.connected_actors(); }
  std::map<std::string, std::int64_t> counters() const { return server_->counters(); }
  const SlotPlan& plan() const { return plan_; }
  std::string folder() const { return folder_.path(); }

 private:
  IngestOptions ingest_options() {
    IngestOptions options;
    options.welcome.run_id = kRunId;
    options.welcome.base_digest = kBaseDigest;
    options.issuer = issuer_of(load_.shape);
    options.append = [this](const LogEntry& entry) { log_->append(entry); };
    options.clock = monotonic_seconds;
    return options;
  }

  void forget(const UpdateRecords& records) {
    std::vector<std::int64_t> slots;
    for (const auto& record : records.records) slots.push_back(record->header.slot);
    ingest_.trained(update_++, slots);
  }

  const Load load_;
  const TemporaryFolder folder_;
  const SlotPlan plan_;
  VersionJournal versions_;
  TrajectoryQueue queue_;
  Ingest ingest_;
  std::int64_t update_ = 0;
  std::unique_ptr<TrajectoryLog> log_;
  std::unique_ptr<FleetServer> server_;
};

std::unique_ptr<FleetClient> connect(std::uint16_t port, const std::string& actor) {
  FleetClientOptions options;
  options.control_endpoint = fmt::format("tcp://127.0.0.1:{}", port);
  options.actor_id = actor;
  auto client = std::make_unique<FleetClient>(options, std::stop_token());
  client->connect({kProtocolVersion, actor, "bench", ::getpid(), kBaseDigest});
  return client;
}

// Works until the run is over; records are had from `make`, by slot and version.
void work(FleetClient& client, const std::function<EncodedRecord(std::int64_t, std::int64_t)>& make) {
  for (Work work = client.next_work(); work.ticket; work = client.next_work()) {
    std::vector<std::int64_t> slots;
    for (const auto& order : work.ticket->slots) slots.push_back(order.slot);
    const auto acks = client.send_records(work.ticket->id, slots, [&](std::size_t i) { return make(slots[i], work.ticket->version); });
    for (const Ack& ack : acks)
      if (ack.reject != Reject::kNone && ack.reject != Reject::kDuplicate) throw failure("[bench] a record was refused: {}", ack.reason);
  }
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

double rounded(double value) { return std::round(value * 1000) / 1000; }

// The same bytes to the same disk, in groups of 16.
double append_bare(const std::string& path, const std::vector<EncodedRecord>& records) {
  constexpr std::size_t kGroup = 16;
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) throw failure("[bench] cannot write '{}'", path);
  const double begin = monotonic_seconds();
  for (std::size_t i = 0; i < records.size(); ++i) {
    write_all(file, records[i].header.view, path);
    write_all(file, records[i].data.view, path);
    if ((i + 1) % kGroup == 0 || i + 1 == records.size()) ::fdatasync(file);
  }
  const double seconds = monotonic_seconds() - begin;
  ::close(file);
  return seconds;
}

Json measure_durable(bool brief) {
  constexpr std::int64_t kActors = 4, kTicket = 8;
  const std::int64_t rounds = brief ? 2 : 9, records_a_round = brief ? 32 : 256;
  const Load load = load_of(records_a_round, rounds + 1, kTicket, 0, {4, 32, 64});
  const std::uint16_t port = free_port();
  Learner learner(load, Durability::kFsync, port);
  // By round; of those two rounds ago nobody reads any more.
  std::vector<std::vector<EncodedRecord>> made(static_cast<std::size_t>(rounds + 1));
  const auto prepare = [&](std::int64_t round) -> const std::vector<EncodedRecord>& {
    auto& records = made[static_cast<std::size_t>(round)];
    for (std::int64_t i = 0; i < records_a_round; ++i)
      records.push_back(make_record(load, learner.plan(), "actor", round, round * records_a_round + i));
    if (round > 1) made[static_cast<std::size_t>(round - 2)].clear();
    return records;
  };
  const EncodedRecord one = prepare(0).front();
  const auto record_bytes = static_cast<std::int64_t>(one.data.view.size());
  const auto bytes = static_cast<double>(one.header.view.size() + one.data.view.size()) * static_cast<double>(records_a_round);
  std::vector<std::jthread> actors;
  for (std::int64_t i = 0; i < kActors; ++i) {
    actors.emplace_back([&, i] {
      const auto client = connect(port, fmt::format("actor-{}", i));
      work(*client, [&](std::int64_t slot, std::int64_t) {
        return made[static_cast<std::size_t>(slot / records_a_round)][static_cast<std::size_t>(slot % records_a_round)];
      });
    });
  }
  learner.take_update();  // warms up
  std::vector<double> ours, bare, ratios;
  for (std::int64_t round = 1; round <= rounds; ++round) {
    const double bare_s = append_bare(learner.folder() + "/bare", prepare(round)), begin = monotonic_seconds();
    learner.publish();
    learner.take_update();
    const double ours_s = monotonic_seconds() - begin;
    ours.push_back(bytes / ours_s / 1e6);
    bare.push_back(bytes / bare_s / 1e6);
    ratios.push_back(bare_s / ours_s);
  }
  learner.finish();
  return {
      {"record_bytes", record_bytes},
      {"records_a_round", records_a_round},
      {"rounds", rounds},
      {"actors", kActors},
      {"mb_per_s", {{"ours", std::round(median(ours))}, {"bare_grouped_append", std::round(median(bare))}}},
      {"ratio",
       {{"median", rounded(median(ratios))}, {"least", rounded(std::ranges::min(ratios))}, {"most", rounded(std::ranges::max(ratios))}}},
      {"target", 0.6}};
}

// Processes that are forked before this one has threads.
class Crowd {
 public:
  Crowd(const Load& load, std::uint16_t port, int processes, int actors_each) {
    for (int process = 0; process < processes; ++process) {
      const pid_t child = ::fork();
      if (child < 0) throw failure("[bench] cannot fork");
      if (child == 0) serve(load, port, process * actors_each, actors_each);
      children_.push_back(child);
    }
  }
  ~Crowd() {
    for (const pid_t child : children_) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

 private:
  [[noreturn]] static void serve(const Load& load, std::uint16_t port, int first, int count) {
    const SlotPlan plan = plan_of(load.shape);
    std::vector<std::jthread> threads;
    for (int i = 0; i < count; ++i) {
      threads.emplace_back([&, actor = fmt::format("actor-{}", first + i)] {
        try {
          const auto client = connect(port, actor);
          work(*client, [&](std::int64_t slot, std::int64_t version) { return make_record(load, plan, actor, version, slot); });
        } catch (const std::exception&) {
          ::_exit(1);  // who is missing shows as one that was not served
        }
      });
    }
    threads.clear();
    ::_exit(0);
  }

  std::vector<pid_t> children_;
};

Json measure_crowd(bool brief) {
  const int processes = brief ? 2 : 8, each = brief ? 4 : 32, actors = processes * each;
  constexpr std::int64_t kTicket = 2;
  const std::int64_t per_update = actors * kTicket, warm_up = 8, updates = brief ? 6 : 64;
  const Load load = load_of(per_update, warm_up + updates + 4, kTicket, 1, {4, 16, 16});
  const std::uint16_t port = free_port();
  const Crowd crowd(load, port, processes, each);
  Learner learner(load, Durability::kPageCache, port);
  const std::int64_t before = resident_bytes();
  for (int i = 0; i < 600 && learner.connected() < static_cast<std::size_t>(actors); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  if (learner.connected() < static_cast<std::size_t>(actors))
    throw failure("[bench] {} of {} actors came within 60 s", learner.connected(), actors);
  std::atomic<std::int64_t> most{before};
  const std::jthread watch([&](const std::stop_token& stop) {
    for (; !stop.stop_requested(); std::this_thread::sleep_for(std::chrono::milliseconds(5)))
      most = std::max(most.load(), resident_bytes());
  });
  const auto train = [&](std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(brief ? 20 : 200));  // half of what the actors would need: they wait
      learner.take_update();
      learner.publish();
    }
  };
  train(warm_up);
  const auto at_first = learner.counters();
  train(updates);
  const auto at_last = learner.counters();
  std::vector<std::int64_t> served;
  for (int i = 0; i < actors; ++i) {
    const std::string name = fmt::format("actor.actor-{}.records", i);
    const auto early = at_first.find(name), late = at_last.find(name);
    served.push_back((late == at_last.end() ? 0 : late->second) - (early == at_first.end() ? 0 : early->second));
  }
  const auto [least, greatest] = std::ranges::minmax(served);
  const auto record_bytes = static_cast<std::int64_t>(make_record(load, learner.plan(), "actor", 0, 0).data.view.size());
  const std::int64_t budget = (load.shape.max_policy_lag + 1) * per_update * record_bytes, growth = most - before;
  return {{"actors", actors},
          {"record_bytes", record_bytes},
          {"records", updates * per_update},
          {"records_of_an_actor", {{"least", least}, {"most", greatest}}},
          {"most_to_least", least == 0 ? Json() : Json(rounded(static_cast<double>(greatest) / static_cast<double>(least)))},
          {"target_most_to_least", 1.5},
          {"budget_bytes", budget},
          {"growth_bytes", growth},
          {"growth_to_budget", rounded(static_cast<double>(growth) / static_cast<double>(budget))},
          {"target_growth_to_budget", 1.1}};
}

int run(bool brief) {
  Json json{{"command", brief ? "fleet_load short" : "fleet_load"}};
  note_when(json);
  json["cores"] = std::thread::hardware_concurrency();
  json["crowd"] = measure_crowd(brief);
  json["durable"] = measure_durable(brief);
  std::cout << json.dump(2) << '\n';
  return 0;
}

}  // namespace

}  // namespace nabla::chaos

int main(int count, char** arguments) {
  nabla::keep_freed_memory();  // as the program does
  try {
    return nabla::chaos::run(count > 1 && std::string(arguments[1]) == "short");
  } catch (const nabla::Error& error) {
    std::cerr << error.what() << '\n';
    return static_cast<int>(error.code());
  }
}
