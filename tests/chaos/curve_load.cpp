#include "tests/chaos/curve_load.h"

#include "common/clock.h"
#include "common/error.h"
#include "learner/ingest.h"
#include "protocol/fleet_client.h"
#include "protocol/keys.h"
#include "tests/chaos/fake_record.h"
#include "tests/common/temporary_folder.h"

#include <fmt/format.h>
#include <unistd.h>

#include <memory>
#include <vector>

namespace nabla::chaos {

namespace {

constexpr const char* kActor = "actor";

// All of one update, so that nothing has to be trained in between.
Shape shape_for(std::int64_t tickets) {
  Shape shape;
  shape.slots = shape.slots_per_update = tickets * shape.ticket_size;
  shape.lockstep = false;
  return shape;
}

RecordRules large_rules(const Shape& shape) {
  RecordRules rules = rules_of(shape);
  rules.latent_shape = {4, 32, 32};
  return rules;
}

// A learner with keys, and an actor that it lets in.
class KeyedFleet {
 public:
  explicit KeyedFleet(const Shape& shape)
      : plan_(plan_of(shape)),
        rules_(large_rules(shape)),
        queue_(plan_.slots_per_update()),
        ingest_(ingest_options(shape), plan_, rules_, versions_, queue_),
        log_(TrajectoryLog::create({fmt::format("{}/log", folder_.path())}, {kRunId, "", text_of(shape)})) {
    ingest_.publish(snapshot_of(0, first_weights(shape)));
    make_server_keys(keys_.path());
    FleetServerOptions options;
    options.keys = read_server_keys(keys_.path());
    server_ = std::make_unique<FleetServer>(options, ingest_);
    server_->start();
    FleetClientOptions client;
    client.control_endpoint = server_->control_endpoint();
    client.actor_id = std::string(kActor);
    client.keys = read_actor_keys(fmt::format("{}/actors/local.key", keys_.path()));
    client_ = std::make_unique<FleetClient>(client, std::stop_token());
    client_->connect({kProtocolVersion, kActor, "chaos", ::getpid(), kBaseDigest});
  }

  EncodedRecord make(const Shape& shape, std::int64_t slot) const {
    const std::string digest = digest_of_weights(first_weights(shape));
    return fake_record(shape, rules_, plan_, slot, {kActor, 0, digest, digest, slot});
  }

  // How many were refused.
  std::int64_t deliver(const std::vector<EncodedRecord>& records) {
    std::int64_t refused = 0;
    for (std::size_t done = 0; done < records.size();) {
      const Work work = client_->next_work();
      if (!work.ticket) throw failure("[chaos] there is no ticket for slot {}: {}", done, work.wait_reason);
      std::vector<std::int64_t> slots;
      for (const auto& order : work.ticket->slots) slots.push_back(order.slot);
      const auto acks =
          client_->send_records(work.ticket->id, slots, [&](std::size_t i) { return records[static_cast<std::size_t>(slots[i])]; });
      for (const Ack& ack : acks) refused += ack.reject == Reject::kNone ? 0 : 1;
      done += slots.size();
    }
    return refused;
  }

 private:
  IngestOptions ingest_options(const Shape& shape) {
    IngestOptions options;
    options.welcome.run_id = kRunId;
    options.welcome.base_digest = kBaseDigest;
    options.issuer = issuer_of(shape);
    options.append = [this](const LogEntry& entry) { log_->append(entry); };
    options.clock = monotonic_seconds;
    return options;
  }

  const TemporaryFolder folder_, keys_;
  const SlotPlan plan_;
  const RecordRules rules_;
  VersionJournal versions_;
  TrajectoryQueue queue_;
  Ingest ingest_;
  std::unique_ptr<TrajectoryLog> log_;
  std::unique_ptr<FleetServer> server_;
  std::unique_ptr<FleetClient> client_;
};

}  // namespace

CurveLoad load_with_curve(std::int64_t tickets) {
  const Shape shape = shape_for(tickets);
  KeyedFleet fleet(shape);
  std::vector<EncodedRecord> records;
  for (std::int64_t slot = 0; slot < shape.slots; ++slot) records.push_back(fleet.make(shape, slot));
  CurveLoad load{.records = shape.slots, .record_bytes = std::ssize(records.front().data.view)};
  const double begin = monotonic_seconds();
  load.refused = fleet.deliver(records);
  load.mb_per_s = static_cast<double>(load.records * load.record_bytes) / (monotonic_seconds() - begin) / 1e6;
  return load;
}

}  // namespace nabla::chaos
