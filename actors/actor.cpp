#include "actors/actor.h"

#include "actors/departure.h"
#include "actors/evaluate_ticket.h"
#include "actors/install_weights.h"
#include "actors/loading_watch.h"
#include "actors/relabel_ticket.h"
#include "actors/sample_ticket.h"
#include "common/device/arithmetic.h"
#include "common/error.h"
#include "common/failpoint.h"
#include "common/host_lookup.h"
#include "common/log.h"
#include "protocol/endpoints.h"
#include "protocol/fleet_client.h"
#include "protocol/keys.h"

#include <ATen/Parallel.h>
#include <torch/types.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>

namespace nabla {

namespace {

constexpr std::chrono::milliseconds kNameDeadline{2'000};  // for its host name, before a lost connection is opened anew

std::string host_name() {
  char name[256] = "unknown";
  gethostname(name, sizeof(name) - 1);
  return name;
}

// Where the learner is now; empty where that cannot be had quickly.
std::string learner_now(const std::string& connect) {
  try {
    return with_numeric_host(control_endpoint_now(connect), kNameDeadline);
  } catch (const Error&) {
    return "";
  }
}

Hello make_hello(const std::string& actor_id, const std::string& base_digest) {
  Hello hello;
  hello.actor_id = actor_id;
  hello.host = host_name();
  hello.pid = getpid();
  hello.base_digest = base_digest;
  return hello;
}

// Rows through each network since the start.
std::map<std::string, std::int64_t> network_counts(const Workbench& bench) {
  return {{"unet_forwards", bench.policy->counters.forwards},    {"unet_backwards", bench.policy->counters.backwards},
          {"decoder_forwards", bench.counters.decoder_forwards}, {"decoder_backwards", bench.counters.decoder_backwards},
          {"reward_forwards", bench.counters.reward_forwards},   {"reward_backwards", bench.counters.reward_backwards}};
}

// One actor's run: connect, then tickets until the run is over.
class Actor {
 public:
  Actor(const ActorOptions& options, std::stop_token stop)
      : actor_id_(options.actor_id.empty() ? fmt::format("{}-{}", host_name(), getpid()) : options.actor_id),
        departure_(options.leave, std::move(stop)),
        client_(client_options(options), departure_.at_once_token()),
        on_progress_(options.on_progress),
        progress_([this](const Heartbeat& heartbeat) { tell(heartbeat); }, departure_.at_once_token()) {
    progress_.state().actor_id = actor_id_;
    progress_.begin_stage("loading");
    // First hello without a digest: the answer carries the configuration that says which model to load.
    const Welcome first = client_.connect(make_hello(actor_id_, ""));
    config_ = options.parse_config(first.config);
    at::set_num_threads(static_cast<int>(config_.actors.threads));
    set_repeatable(config_.fleet.lockstep);
    load(options.heartbeat_interval);
    welcome_ = client_.connect(make_hello(actor_id_, bench_.base_digest));
    if (welcome_.step_table_id != bench_.table.id) {
      throw usage_error("[actor] the run samples with step table {}, this actor's configuration gives {}; remove its sampling.* overrides",
                        welcome_.step_table_id, bench_.table.id);
    }
    log_info("joined run {} as {}: {} on {}, {} threads", welcome_.run_id, actor_id_, config_.pretrained.model, config_.actors.device,
             config_.actors.threads);
  }

  void run() {
    departure_.finish_tickets_within(std::chrono::milliseconds(static_cast<std::int64_t>(1000 * config_.fleet.ticket_timeout_s)));
    try {
      work();
    } catch (const Error&) {
      // An end in the middle of a call is no failure: the ticket in hand is given back by leaving.
      if (!departure_.ends_at_once()) throw;
    }
    client_.leave();
    log_info("{} after {} tickets", run_over_ ? "the run is over" : "leaves the run", tickets_served_);
  }

 private:
  void load(std::chrono::milliseconds heartbeat_interval) {
    const LoadingWatch watch(heartbeat_interval, [this] {
      ++progress_.state().steps_done;
      tell(progress_.state());
    });
    bench_ = make_workbench(config_);
  }

  void work() {
    while (!departure_.requested()) {
      progress_.begin_stage("wait_for_ticket");
      const Work work = client_.next_work(departure_.leave_token());
      if (work.state == WorkState::kFinished) run_over_ = true;
      if (run_over_) return;
      if (work.ticket) serve(*work.ticket, work.newest_version);
    }
  }

  FleetClientOptions client_options(const ActorOptions& options) {
    FleetClientOptions client;
    const Endpoints endpoints =
        resolve_endpoints(options.connect, std::chrono::duration_cast<std::chrono::seconds>(options.patience), departure_.at_once_token());
    // A name is asked for here, where there is a deadline: ZeroMQ asks from the thread that serves all its connections.
    client.control_endpoint = with_numeric_host(endpoints.control, options.connect_deadline, departure_.at_once_token());
    client.look_up = [connect = options.connect] { return learner_now(connect); };
    client.keys = options.keys;
    if (!client.keys && !endpoints.key_file.empty()) client.keys = read_actor_keys(endpoints.key_file);
    client.actor_id = actor_id_;
    client.heartbeat_interval = options.heartbeat_interval;
    client.connect_deadline = options.connect_deadline;
    client.reconnect_deadline = options.patience;
    // Whatever is in hand is not wanted any more.
    client.on_run_over = [this] {
      run_over_ = true;
      departure_.end_at_once();
    };
    return client;
  }

  void tell(const Heartbeat& heartbeat) {
    client_.set_progress(heartbeat);
    if (on_progress_) on_progress_(heartbeat);
  }

  void serve(const Ticket& ticket, std::int64_t newest_version) {
    progress_.state().ticket_id = ticket.id;
    try {
      install(ticket.exact_version ? ticket.version : std::max(ticket.version, newest_version));
      switch (ticket.kind) {
        case TicketKind::kSample:
          deliver_samples(ticket);
          break;
        case TicketKind::kEvaluate:
          deliver_evaluation(ticket);
          break;
        case TicketKind::kRelabel:
          deliver_relabels(ticket);
          break;
      }
    } catch (const Error& error) {
      if (departure_.ends_at_once() || error.code() != ExitCode::kFailure) throw;
      log_error("ticket {} failed: {}", ticket.id, error.what());
      count_work(ticket);
      client_.fail_ticket(ticket.id, error.what());
    }
    progress_.state().ticket_id = 0;
    ++tickets_served_;
  }

  void install(std::int64_t version) {
    if (version == installed_) return;
    progress_.begin_stage("install_weights");
    const Snapshot snapshot = client_.get_snapshot(version);
    progress_.state().version = installed_ = -1;  // whatever fails now, the version before is no longer there
    install_weights(bench_, snapshot);
    installed_ = version;
    progress_.state().version = version;
    progress_.state().digest = bench_.policy->digest();
  }

  RecordOrigin origin() { return {welcome_.run_id, actor_id_, installed_, progress_.state().digest}; }

  void deliver_samples(const Ticket& ticket) { deliver(ticket, sample_ticket(bench_, config_, ticket, origin(), progress_)); }

  // An actor keeps no trajectory, so it asks for the states of each slot.
  void deliver_relabels(const Ticket& ticket) {
    progress_.begin_stage("fetch_states");
    std::vector<SlotStates> states;
    for (const auto& order : ticket.slots) states.push_back(client_.get_states(order.slot));
    deliver(ticket, relabel_ticket(bench_, config_, ticket, states, origin(), progress_));
  }

  void deliver(const Ticket& ticket, const std::vector<EncodedRecord>& records) {
    count_work(ticket);
    failpoint("actor.before_delivery");
    progress_.begin_stage("delivery");
    std::vector<std::int64_t> slots;
    for (const auto& order : ticket.slots) slots.push_back(order.slot);
    const auto acks = client_.send_records(ticket.id, slots, [&](std::size_t i) { return records[i]; });
    for (std::size_t i = 0; i < acks.size(); ++i) {
      if (acks[i].reject == Reject::kNone || acks[i].reject == Reject::kDuplicate) continue;
      log_error("slot {} was refused: {} ({})", slots[i], name_of(acks[i].reject), acks[i].reason);
    }
  }

  void deliver_evaluation(const Ticket& ticket) {
    EvaluationResult result = evaluate_ticket(bench_, ticket, progress_);
    result.version = installed_;
    result.digest = progress_.state().digest;
    result.actor_id = actor_id_;
    count_work(ticket);
    progress_.begin_stage("delivery");
    client_.send_evaluation(result);
  }

  // Before the delivery, so that the heartbeat that goes with it tells of this ticket too.
  void count_work(const Ticket& ticket) {
    const std::string role = ticket.kind == TicketKind::kEvaluate ? "evaluation_" : "actor_";
    auto work = network_counts(bench_);
    for (const auto& [network, count] : work) progress_.state().counters[role + network] += count - counted_[network];
    counted_ = std::move(work);
  }

  std::string actor_id_;
  Departure departure_;
  std::atomic<bool> run_over_{false};  // set by the client's thread
  FleetClient client_;
  std::function<void(const Heartbeat&)> on_progress_;
  Progress progress_;
  RunConfig config_;
  Workbench bench_;
  Welcome welcome_;
  std::int64_t installed_ = -1, tickets_served_ = 0;
  std::map<std::string, std::int64_t> counted_;  // of network_counts, told already
};

}  // namespace

void run_actor(const ActorOptions& options, std::stop_token stop) {
  std::unique_ptr<Actor> actor;
  try {
    actor = std::make_unique<Actor>(options, stop);
  } catch (const Error&) {
    // Before the first ticket: a request to end is no failure.
    if (!stop.stop_requested() && !options.leave.stop_requested()) throw;
    return;
  }
  actor->run();
}

}  // namespace nabla
