#include "actors/relabel_ticket.h"

#include "actors/relabel_samples.h"
#include "actors/sample_ticket.h"
#include "common/config/relabel_needs.h"
#include "tests/actors/tickets.h"
#include "tests/common/error_check.h"

using namespace nabla;

namespace {

Ticket relabel_ticket_of(Ticket ticket) {
  ticket.kind = TicketKind::kRelabel;
  ticket.id += 500'000'000'000;
  return ticket;
}

std::shared_ptr<const TrajectoryRecord> decoded(const EncodedRecord& encoded) {
  DecodeResult result = decode_record(encoded, {});
  REQUIRE(result.reason == "");
  return std::make_shared<TrajectoryRecord>(std::move(result.record));
}

// Samples of three slots by one policy, to be relabelled by it or by another.
struct RelabelScene {
  explicit RelabelScene(const RunConfig& run_config) : config(run_config), bench(make_workbench(config)) {
    bench.policy->load(some_lora(*bench.policy));
    samples = sample_ticket(bench, config, three_slots(), {"run-1", "actor-1", 2, bench.policy->digest()}, progress);
  }

  std::vector<SlotStates> states() const {
    std::vector<SlotStates> all;
    for (const auto& sample : samples) {
      const auto record = decoded(sample);
      std::map<std::string, TensorSource> sources;
      for (const auto* name : {"x", "y"}) {
        const TensorEntry& entry = *record->find(name);
        sources[name] = {entry.dtype, entry.shape, record->bytes(entry)};
      }
      PackedTensors packed = pack_tensors(sources);
      all.push_back({record->header.slot, packed.table, packed.data});
    }
    return all;
  }
  std::vector<EncodedRecord> relabel() {
    return relabel_ticket(bench, config, relabel_ticket_of(three_slots()), states(), {"run-1", "actor-2", 5, bench.policy->digest()},
                          progress);
  }
  std::vector<EncodedRecord> relabel_saved() {
    std::vector<std::shared_ptr<const TrajectoryRecord>> saved;
    for (const auto& sample : samples) saved.push_back(decoded(sample));
    return relabel_samples(bench, config, saved, {"log-2", "relabel", 5, bench.policy->digest()}, progress);
  }

  RunConfig config;
  Progress progress = silent_progress();
  Workbench bench;
  std::vector<EncodedRecord> samples;
};

Tensor tensor_of(const EncodedRecord& record, const std::string& name) {
  return tensor_of(decoded(record)->header.tensors, record.data, name);
}

std::vector<std::string> names_of(const EncodedRecord& record) {
  std::vector<std::string> names;
  const auto whole = decoded(record);
  for (const auto& entry : whole->header.tensors) names.push_back(entry.name);
  return names;
}

double difference(const Tensor& a, const Tensor& b) {
  return ((a - b).to(at::kDouble).square().mean().sqrt() / b.to(at::kDouble).square().mean().sqrt()).item<double>();
}

// Settings whose records hold each policy-dependent tensor at least once.
std::vector<RunConfig> relabelling_configs(const TinyModel& model) {
  std::vector<RunConfig> configs(4, model.config());
  configs[1].model.gradient = "terminal";
  configs[1].model.reverse_target = "rao_blackwell";
  configs[2].model.gradient = "reference_fl";
  configs[3].experiment.method = "DRaFT-LV";
  for (auto& config : configs) config.model.time_weighting = "uniform";
  return configs;
}

}  // namespace

TEST_CASE("a relabel record of the weights that sampled repeats what its sample says, and nothing else") {
  const TinyModel model;
  for (const auto& config : relabelling_configs(model)) {
    INFO(config.experiment.method, " ", config.model.gradient);
    RelabelScene scene(config);
    const auto relabels = scene.relabel();
    auto stale = policy_dependent_tensors(record_needs_of(config));
    std::sort(stale.begin(), stale.end());
    REQUIRE(relabels.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
      const RecordHeader header = decoded(relabels[i])->header, sample = decoded(scene.samples[i])->header;
      CHECK(header.kind == TicketKind::kRelabel);
      CHECK(header.slot == sample.slot);
      CHECK(header.ticket_id == sample.ticket_id + 500'000'000'000);
      CHECK(header.version == 5);
      CHECK(header.actor_id == "actor-2");
      CHECK(header.reward == 0.0);
      CHECK(header.token_ids == sample.token_ids);
      CHECK(names_of(relabels[i]) == stale);
      // The Rao-Blackwell target takes the prediction of a batch of points instead of the sampler's.
      for (const auto& name : stale)
        CHECK(difference(tensor_of(relabels[i], name), tensor_of(scene.samples[i], name)) <
              (name == "reverse_rao_blackwell" ? 1e-3 : 1e-6));
    }
  }
}

TEST_CASE("relabelling with the published objective repeats the sample's tensors bit for bit") {
  const TinyModel model;
  RelabelScene scene(model.config());
  const auto relabels = scene.relabel();
  for (std::size_t i = 0; i < 3; ++i) {
    for (const auto* name : {"reward_grad_x", "reward_grad_y", "reverse_score_policy"})
      CHECK(tensor_of(relabels[i], name).equal(tensor_of(scene.samples[i], name)));
  }
}

TEST_CASE("other weights give other values, and a terminal reward gradient depends on none") {
  const TinyModel model;
  RelabelScene scene(model.config());
  scene.bench.policy->load(some_lora(*scene.bench.policy, 0.5, 900));
  scene.bench.policy->counters = {};
  const auto relabels = scene.relabel(), again = scene.relabel();
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(same_bytes(relabels[i].data, again[i].data));
    for (const auto& name : names_of(relabels[i]))
      CHECK(difference(tensor_of(relabels[i], name), tensor_of(scene.samples[i], name)) > 1e-2);
    CHECK(tensor_of(relabels[i], "reward_grad_y")[3].equal(tensor_of(scene.samples[i], "reward_grad_y")[3]));
    CHECK(decoded(relabels[i])->header.digest == scene.bench.policy->digest());
  }
  // Twice 12 points at x and the 9 at y that are not terminal; the base model is not asked.
  CHECK(scene.bench.policy->counters.forwards == 2 * (12 + 9));
}

TEST_CASE("states that do not fit their ticket are refused") {
  const TinyModel model;
  RelabelScene scene(model.config());
  auto states = scene.states();
  std::swap(states[0].table[0].name, states[0].table[1].name);
  states[0].table[0].name = "z";
  check_error(
      ExitCode::kFailure, [&] { relabel_ticket(scene.bench, scene.config, relabel_ticket_of(three_slots()), states, {}, scene.progress); },
      "slot 20");
  Ticket ticket = relabel_ticket_of(three_slots());
  for (auto& order : ticket.slots) order.transitions = {3, 9};
  check_error(
      ExitCode::kFailure, [&] { relabel_ticket(scene.bench, scene.config, ticket, scene.states(), {}, scene.progress); }, "slot 20",
      "2 rows");
}

TEST_CASE("saved samples relabelled by the weights that sampled them are the same records") {
  const TinyModel model;
  RelabelScene scene(model.config());
  const auto records = scene.relabel_saved();
  for (std::size_t i = 0; i < 3; ++i) {
    const RecordHeader header = decoded(records[i])->header, sample = decoded(scene.samples[i])->header;
    CHECK(header.kind == TicketKind::kSample);
    CHECK(header.run_id == "log-2");
    CHECK(header.version == 5);
    CHECK(header.update == sample.update);
    CHECK(header.ticket_id == sample.ticket_id);
    CHECK(header.reward == sample.reward);
    CHECK(names_of(records[i]) == names_of(scene.samples[i]));
    for (const auto& name : names_of(records[i])) CHECK(difference(tensor_of(records[i], name), tensor_of(scene.samples[i], name)) < 1e-5);
    for (const auto* name : {"x", "y", "eps_reference"}) CHECK(tensor_of(records[i], name).equal(tensor_of(scene.samples[i], name)));
  }
}

TEST_CASE("saved samples take reward, guidance and objective from the configuration, and their prediction from the weights") {
  const TinyModel model;
  RelabelScene scene(model.config());
  scene.config.experiment.reward_fn = "mean-red";
  scene.config.sampling.guidance_scale = 2.0;
  scene.config.model.gradient = "reference_fl";
  scene.bench = make_workbench(scene.config);
  const auto records = scene.relabel_saved();
  const auto header = decoded(records[0])->header;
  CHECK(header.gradient_kind == "reference_fl");
  CHECK(header.reward_spec.find("mean-red") != std::string::npos);
  CHECK(header.reward != decoded(scene.samples[0])->header.reward);
  CHECK(difference(tensor_of(records[0], "eps_reference"), tensor_of(scene.samples[0], "eps_reference")) > 1e-2);
  // The base model's own prediction: its LoRA does nothing yet.
  CHECK(difference(tensor_of(records[0], "eps_behaviour"), tensor_of(records[0], "eps_reference")) < 1e-6);
}
