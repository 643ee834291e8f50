#include "tests/chaos/fake_actor.h"

#include "common/error.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "protocol/fleet_client.h"
#include "tests/chaos/acks.h"
#include "tests/chaos/fake_record.h"

#include <unistd.h>

namespace nabla::chaos {

namespace {

FleetClientOptions client_options(const FakeActorOptions& options) {
  FleetClientOptions client;
  client.control_endpoint = options.connect;
  client.actor_id = options.id;
  client.heartbeat_interval = options.heartbeat;
  return client;
}

class FakeActor {
 public:
  explicit FakeActor(const FakeActorOptions& options)
      : options_(options),
        acks_(options.acks),
        client_(client_options(options), {}),
        shape_(shape_from(client_.connect({options.protocol_version, options.id, "chaos", ::getpid(), kBaseDigest}).config)),
        rules_(rules_of(shape_)),
        plan_(plan_of(shape_)) {}

  void run(const std::stop_token& leave) {
    while (!leave.stop_requested()) {
      const Work work = client_.next_work(leave);
      if (work.state == WorkState::kFinished) break;
      if (work.ticket) serve(*work.ticket, work.newest_version);
    }
    client_.leave();
  }

 private:
  void serve(const Ticket& ticket, std::int64_t newest) {
    try {
      show_progress(ticket.id, "sampling");
      install(ticket.exact_version ? ticket.version : std::max(ticket.version, newest));
      deliver(ticket);
    } catch (const Error& error) {
      if (error.code() != ExitCode::kFailure) throw;
      log_warning("ticket {} failed: {}", ticket.id, error.what());
      client_.fail_ticket(ticket.id, error.what());
    }
    show_progress(0, "idle");
  }

  void show_progress(std::uint64_t ticket, const std::string& stage) {
    Heartbeat heartbeat;
    heartbeat.ticket_id = ticket;
    heartbeat.stage = stage;
    heartbeat.steps_done = ++steps_;
    heartbeat.version = version_;
    heartbeat.digest = digest_;
    client_.set_progress(heartbeat);
  }

  void install(std::int64_t version) {
    if (version == version_) return;
    const Snapshot snapshot = client_.get_snapshot(version);
    if (seeded_bug("actor.swap_before_verify")) {
      version_ = version;
      digest_ = snapshot.digest;
    }
    const std::string weights = weights_in(snapshot);
    if (digest_of_weights(weights) != snapshot.digest) throw failure("[chaos] version {} is not what its digest says", version);
    failpoint("actor.mid_swap");
    version_ = version;
    digest_ = snapshot.digest;
    weights_ = weights;
  }

  EncodedRecord make(std::int64_t slot) {
    failpoint("actor.mid_record");
    const bool lies = options_.lies && ++made_ % 7 == 0;
    return fake_record(shape_, rules_, plan_, slot,
                       {options_.id, version_, lies ? std::string(32, 'f') : digest_, digest_of_weights(weights_), ++nonce_});
  }

  // Every other ticket as `nabla actor` does, one record being made while the one before it is on its way; the others one by one, so that no
  // acknowledgement goes unnoted for long.
  void deliver(const Ticket& ticket) {
    std::vector<std::int64_t> slots;
    for (const auto& order : ticket.slots) slots.push_back(order.slot);
    failpoint("actor.before_delivery");
    const std::int64_t first_nonce = nonce_ + 1;
    if (ticket.id % 2 == 0) {
      const auto acks = client_.send_records(ticket.id, slots, [&](std::size_t i) { return make(slots[i]); });
      for (std::size_t i = 0; i < acks.size(); ++i) note(acks[i], first_nonce + static_cast<std::int64_t>(i));
      return;
    }
    for (const auto slot : slots) {
      const EncodedRecord record = make(slot);
      note(client_.send_record(record, ticket.id, slot), nonce_);
    }
  }

  void note(const Ack& ack, std::int64_t nonce) {
    const bool over = ack.reason == "the run is over";
    if (over || (ack.reject != Reject::kNone && ack.reject != Reject::kDuplicate)) return;
    acks_.add({ack.slot, nonce, ack.reject == Reject::kNone, options_.id});
  }

  const FakeActorOptions options_;
  AckFile acks_;
  FleetClient client_;
  const Shape shape_;
  const RecordRules rules_;
  const SlotPlan plan_;
  std::int64_t version_ = -1, nonce_ = 0, steps_ = 0, made_ = 0;
  std::string digest_, weights_;
};

}  // namespace

void run_fake_actor(const FakeActorOptions& options, const std::stop_token& leave) { FakeActor(options).run(leave); }

}  // namespace nabla::chaos
