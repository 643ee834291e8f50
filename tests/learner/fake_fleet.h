#pragma once

#include "common/config/relabel_needs.h"
#include "common/diffusion/tokenizer.h"
#include "common/error.h"
#include "learner/learner.h"
#include "protocol/fleet_client.h"
#include "protocol/trajectory_log.h"
#include "tests/learner/tiny_model.h"

#include <cstring>
#include <functional>
#include <future>
#include <latch>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace nabla::testing {

// What an actor recomputes of a tiny record: here, twice its own values.
inline EncodedRecord tiny_relabel(const EncodedRecord& sample) {
  TrajectoryRecord record = decode_record(sample, {}).record;
  record.header.kind = TicketKind::kRelabel;
  record.header.reward = 0;
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, TensorSource> tensors;
  for (const auto& name : policy_dependent_tensors({})) {
    const auto bytes = record.bytes(*record.find(name));
    auto& twice = values[name];
    twice.resize(bytes.size() / sizeof(float));
    std::memcpy(twice.data(), bytes.data(), bytes.size());
    for (auto& value : twice) value *= 2.0F;
    tensors[name] = {DType::kF32, record.find(name)->shape, std::as_bytes(std::span(twice))};
  }
  return encode_record(record.header, pack_tensors(tensors));
}

struct FakeWork {
  std::map<std::int64_t, TensorMap> instead = {};  // tensors of the records of these slots
  std::int64_t withheld_evaluation = -1;           // the evaluation of this version is never answered
};

// Serves a learner as actors do, with records of random numbers that are the same whoever makes them. Each actor is a thread, which ends when
// the learner says that the run is over.
class FakeFleet {
 public:
  FakeFleet(const RunConfig& config, FakeWork work)
      : table_(make_step_table(ModelFolder::open(config.pretrained.model).scheduler(), sampler_from_name(config.sampling.scheduler),
                               config.sampling.num_steps, config.sampling.eta)),
        tokenizer_(ClipTokenizer::load(config.pretrained.model + "/tokenizer")),
        work_(std::move(work)) {}
  ~FakeFleet() { end(); }

  // Returns once all of them are welcome, so that none comes after the end of a short run.
  void start(const std::string& endpoint, int count) {
    std::latch connected(count);
    for (int i = 1; i <= count; ++i) {
      actors_.emplace_back([this, endpoint, i, &connected] { serve(endpoint, fmt::format("actor-{}", i), connected); });
    }
    connected.wait();
  }
  // After the run: waits for all actors; returns what went wrong in them.
  std::vector<std::string> end() {
    if (!std::exchange(ended_, true)) run_over_.set_value();
    actors_.clear();
    return problems_;
  }

 private:
  void serve(const std::string& endpoint, const std::string& id, std::latch& connected) {
    FleetClientOptions options;
    options.control_endpoint = endpoint;
    options.actor_id = id;
    bool welcomed = false;
    try {
      FleetClient client(options, {});
      const Welcome welcome = greet(client, id);
      welcomed = true;
      connected.count_down();
      for (Work work = client.next_work(); work.state != WorkState::kFinished; work = client.next_work())
        try_to_answer(client, *work.ticket, work.newest_version, {welcome.run_id, id});
    } catch (const std::exception& error) {
      if (!welcomed) connected.count_down();
      const std::lock_guard lock(mutex_);
      problems_.push_back(error.what());
    }
  }

  static Welcome greet(FleetClient& client, const std::string& id) {
    const Welcome first = client.connect({kProtocolVersion, id, "host", 1, ""});
    return client.connect({kProtocolVersion, id, "host", 1, first.base_digest});
  }

  // Gives a ticket back that cannot be served, such as one whose weights are no longer there because the run is over.
  void try_to_answer(FleetClient& client, const Ticket& ticket, std::int64_t newest, const RecordOrigin& origin) {
    try {
      answer(client, ticket, newest, origin);
    } catch (const Error& error) {
      if (error.code() != ExitCode::kFailure) throw;
      client.fail_ticket(ticket.id, error.what());
    }
  }

  void answer(FleetClient& client, const Ticket& ticket, std::int64_t newest, RecordOrigin origin) {
    origin.version = ticket.exact_version ? ticket.version : std::max(ticket.version, newest);
    origin.digest = client.get_snapshot(origin.version).digest;
    origin.ticket_id = ticket.id;
    origin.update = ticket.update;
    if (ticket.kind == TicketKind::kEvaluate) {
      if (ticket.version == work_.withheld_evaluation) return run_over_.get_future().wait();
      client.send_evaluation(judge(ticket, origin));
      return;
    }
    for (const auto& order : ticket.slots) {
      const auto found = work_.instead.find(order.slot);
      const auto record =
          tiny_record(origin, order, table_, tokenizer_.encode(order.prompt), found == work_.instead.end() ? TensorMap() : found->second);
      const bool relabel = ticket.kind == TicketKind::kRelabel;
      if (relabel) client.get_states(order.slot);
      client.send_record(relabel ? tiny_relabel(record) : record, ticket.id, order.slot);
    }
  }

  static EvaluationResult judge(const Ticket& ticket, const RecordOrigin& origin) {
    EvaluationResult result;
    result.ticket_id = ticket.id;
    result.version = origin.version;
    result.digest = origin.digest;
    result.actor_id = origin.actor_id;
    const auto count = static_cast<std::int64_t>(ticket.slots.size());
    std::vector<float> rewards;
    for (const auto& order : ticket.slots) {
      result.pictures.push_back(order.slot);
      result.prompts.push_back(order.prompt);
      rewards.push_back(static_cast<float>(origin.version) + 0.5F * static_cast<float>(order.slot));
    }
    const std::vector<std::uint8_t> pixels(static_cast<std::size_t>(count) * 12);
    PackedTensors packed = pack_tensors({{"reward", {DType::kF32, {count}, std::as_bytes(std::span(rewards))}},
                                         {"image", {DType::kU8, {count, 3, 2, 2}, std::as_bytes(std::span(pixels))}}});
    result.table = std::move(packed.table);
    result.data = std::move(packed.data);
    return result;
  }

  StepTable table_;
  ClipTokenizer tokenizer_;
  FakeWork work_;
  std::promise<void> run_over_;
  bool ended_ = false;
  std::mutex mutex_;
  std::vector<std::string> problems_;  // guarded by mutex_
  std::vector<std::jthread> actors_;
};

// Writes down what it is told; starts actors as soon as the learner listens, and asks it to stop after an update.
class Watcher : public RunObserver {
 public:
  void on_start(const RunFacts& run_facts) override {
    facts = run_facts;
    if (started) started(run_facts);
  }
  void on_wait(const std::string& reason) override { waits.push_back(reason); }
  void on_update(const UpdateReport& report) override {
    updates.push_back(report);
    if (report.update == stop_after) stop.request_stop();
  }
  void on_evaluation(const EvaluationSummary& evaluation) override { evaluations.push_back(evaluation); }

  std::function<void(const RunFacts&)> started;
  std::int64_t stop_after = -1;
  std::stop_source stop;
  RunFacts facts;
  std::vector<std::string> waits;
  std::vector<UpdateReport> updates;
  std::vector<EvaluationSummary> evaluations;
};

// A learner and its fake actors, run to the end in a folder of their own.
struct FakeRun {
  struct Options {
    int actors = 1;
    std::int64_t stop_after = -1;
    FakeWork work = {};
    std::shared_ptr<std::atomic<bool>> checkpoint_wanted = {};
  };
  FakeRun(const RunConfig& run_config, const Options& options) : config(run_config) {
    FakeFleet fleet(config, options.work);
    watcher.stop_after = options.stop_after;
    watcher.started = [&](const RunFacts& facts) { fleet.start(facts.control_endpoint, options.actors); };
    LearnerOptions learner{config, "seed: 7\n", folder.path(), "run-1"};
    learner.checkpoint_wanted = options.checkpoint_wanted;
    result = run_learner(learner, watcher, watcher.stop.get_token());
    problems = fleet.end();
  }

  // Of the log, under the given configuration.
  LearnerResult replay(const RunConfig& replay_config, Watcher& observer) const {
    const TemporaryFolder target;
    const auto config_of_log = [this](const std::string&) { return config; };
    return replay_logs({replay_config, "seed: 7\n", {folder.file("queue/rank-0")}, target.path(), "replay-1", config_of_log}, observer,
                       observer.stop.get_token());
  }

  RunConfig config;
  TemporaryFolder folder;
  Watcher watcher;
  LearnerResult result;
  std::vector<std::string> problems;
};

inline std::vector<LogEntry> entries_of(const std::string& run_folder) {
  std::vector<LogEntry> entries;
  TrajectoryLogReader reader(run_folder + "/queue/rank-0");
  while (auto entry = reader.next()) entries.push_back(std::move(*entry));
  return entries;
}

}  // namespace nabla::testing
