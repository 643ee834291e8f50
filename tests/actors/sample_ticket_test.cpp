#include "actors/sample_ticket.h"

#include "common/config/record_needs.h"
#include "common/diffusion/sampling.h"
#include "tests/actors/tickets.h"
#include "tests/common/error_check.h"

using namespace nabla;

namespace {

const RecordOrigin kOrigin{"run-1", "actor-1", 3, "0123456789abcdef0123456789abcdef"};

struct TicketScene {
  explicit TicketScene(RunConfig run_config) : config(std::move(run_config)), bench(make_workbench(config)) {
    bench.policy->load(some_lora(*bench.policy));
  }

  std::vector<EncodedRecord> sample(const Ticket& ticket, const RecordOrigin& origin = kOrigin) {
    Progress progress = silent_progress();
    return sample_ticket(bench, config, ticket, origin, progress);
  }
  std::vector<TrajectoryRecord> records(const Ticket& ticket) {
    std::vector<TrajectoryRecord> decoded;
    for (const auto& encoded : sample(ticket)) {
      const DecodeResult result = decode_record(encoded, {});
      INFO(result.reason);
      REQUIRE((result.reject == Reject::kNone));
      decoded.push_back(result.record);
    }
    return decoded;
  }

  RunConfig config;
  Workbench bench;
};

Tensor tensor_of(const TrajectoryRecord& record, const std::string& name) {
  return tensor_of(record.header.tensors, record.encoded.data, name);
}

// One slot's trajectory by hand, in a batch of its own: states [S+1,C,h,w] and the policy's predictions [S,C,h,w].
struct Replay {
  Replay(TicketScene& scene, const SlotOrder& order) {
    const at::NoGradGuard no_grad;
    const Conditioning conditioning = encode_prompts(scene.bench, {order.prompt}).conditioning;
    TrajectoryNoise noise = TrajectoryNoise::for_slots({order.seed}, {order.slot}, scene.bench.latent_shape);
    states.push_back(noise.start());
    for (const Transition& transition : scene.bench.table.transitions) {
      const Tensor time = torch::tensor({transition.timestep}, at::kLong);
      predictions.push_back(scene.bench.policy->predict(WeightMode::kAdapter, states.back(), time, conditioning));
      states.push_back(transition_mean(scene.bench.table, transition, states.back(), predictions.back()) +
                       transition.sigma * noise.next_step());
    }
  }
  std::vector<Tensor> states, predictions;
};

void check_ticket_fault(TicketScene& scene, const Ticket& ticket, const std::string& part) {
  check_error(
      ExitCode::kFailure, [&] { scene.sample(ticket); }, "ticket 4", part);
}

}  // namespace

TEST_CASE("a record's rows are the chosen transitions of the slot's own trajectory") {
  const TinyModel model;
  TicketScene scene(model.config());
  const Ticket ticket = three_slots();
  const auto records = scene.records(ticket);
  REQUIRE(records.size() == 3);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const Replay replay(scene, ticket.slots[i]);
    const auto& chosen = ticket.slots[i].transitions;
    for (std::size_t k = 0; k < chosen.size(); ++k) {
      const auto row = static_cast<std::int64_t>(k);
      const auto step = static_cast<std::size_t>(chosen[k]);
      CHECK(relative_error(tensor_of(records[i], "x")[row], replay.states[step][0]) < 1e-5);
      CHECK(relative_error(tensor_of(records[i], "y")[row], replay.states[step + 1][0]) < 1e-5);
      CHECK(relative_error(tensor_of(records[i], "eps_behaviour")[row], replay.predictions[step][0]) < 1e-4);
    }
  }
}

TEST_CASE("a record's header repeats its order and says who made it with which weights") {
  const TinyModel model;
  TicketScene scene(model.config());
  const Ticket ticket = three_slots();
  const RecordHeader header = scene.records(ticket)[1].header;
  CHECK((header.kind == TicketKind::kSample));
  CHECK(header.run_id == "run-1");
  CHECK(header.actor_id == "actor-1");
  CHECK(header.version == 3);
  CHECK(header.digest == kOrigin.digest);
  CHECK(header.slot == 21);
  CHECK(header.update == 2);
  CHECK(header.ticket_id == 4);
  CHECK(header.prompt_index == 6);
  CHECK(header.prompt == "two blue rings");
  CHECK(header.token_ids == scene.bench.tokenizer->encode("two blue rings"));
  CHECK(header.seed == 77);
  CHECK(header.step_table_id == scene.bench.table.id);
  CHECK(header.gradient_kind == "policy_fl");
  CHECK(header.reward_spec == scene.bench.reward->spec());
  REQUIRE(header.transitions.size() == 4);
  for (std::size_t k = 0; k < 4; ++k) {
    const Transition& transition = scene.bench.table.transitions[static_cast<std::size_t>(ticket.slots[1].transitions[k])];
    CHECK(header.transitions[k].step == ticket.slots[1].transitions[k]);
    CHECK(header.transitions[k].timestep == transition.timestep);
    CHECK(header.transitions[k].next_timestep == transition.next_timestep);
  }
  CHECK(header.transitions.back().next_timestep == 0);
}

TEST_CASE("a record's reward is that of its final picture, and its tensors are those of its points") {
  const TinyModel model;
  TicketScene scene(model.config());
  const Ticket ticket = three_slots();
  for (const auto& record : scene.records(ticket)) {
    const Tensor y = tensor_of(record, "y"), last = y.narrow(0, 3, 1);
    const Tensor score = scene.bench.reward->score(decode_image(*scene.bench.vae, last), {record.header.prompt});
    CHECK(record.header.reward == doctest::Approx(score.item<double>()).epsilon(1e-5));
    const Tensor gradient = tensor_of(record, "reward_grad_y").narrow(0, 3, 1), nudge = 1e-3 * gradient / gradient.norm();
    const Tensor higher = scene.bench.reward->score(decode_image(*scene.bench.vae, last + nudge), {record.header.prompt});
    CHECK(higher.item<double>() > score.item<double>());
    const Conditioning conditioning{encode_prompts(scene.bench, {record.header.prompt}).conditioning.prompt_embeds.expand({4, -1, -1}),
                                    encode_prompts(scene.bench, {""}).conditioning.prompt_embeds};
    std::vector<std::int64_t> times;
    for (const auto& transition : record.header.transitions) times.push_back(transition.timestep);
    const Tensor reference =
        scene.bench.policy->predict(WeightMode::kBase, tensor_of(record, "x"), torch::tensor(times, at::kLong), conditioning);
    CHECK(relative_error(tensor_of(record, "eps_reference"), reference) < 1e-5);
    for (const char* name : {"reward_grad_x", "reverse_score_reference", "reverse_score_policy"})
      CHECK(tensor_of(record, name).sizes() == y.sizes());
  }
}

TEST_CASE("a run without the flow carries nothing for the reverse loss") {
  const TinyModel model;
  RunConfig config = model.config();
  config.model.no_flow = true;
  TicketScene scene(config);
  const auto record = scene.records(three_slots())[0];
  CHECK(record.find("reward_grad_y") != nullptr);
  for (const char* name : {"reward_grad_x", "reverse_score_reference", "reverse_score_policy"}) CHECK(record.find(name) == nullptr);
}

TEST_CASE("the gradient kind of the run is used and named") {
  const TinyModel model;
  RunConfig config = model.config();
  config.model.gradient = "terminal";
  TicketScene scene(config);
  const auto record = scene.records(three_slots())[2];
  CHECK(record.header.gradient_kind == "terminal");
  const Tensor gradient = tensor_of(record, "reward_grad_y");
  for (std::int64_t row = 0; row < 3; ++row) CHECK(gradient[row].equal(gradient[3]));
}

TEST_CASE("every method's records have the tensors that it needs and no others") {
  const TinyModel model;
  for (const std::string method : {"Plain-Nabla-DB", "ReFL", "DRaFT-1", "DRaFT-LV", "DDPO", "Adjoint-Matching"}) {
    INFO(method);
    RunConfig config = model.config();
    config.experiment.method = method;
    config.model.draft_lv_samples = 3;
    TicketScene scene(config);
    const RecordNeeds needs = record_needs_of(config);
    const auto records = scene.records(three_slots());
    auto wanted = tensor_names(needs);
    std::sort(wanted.begin(), wanted.end());
    for (const auto& record : records) {
      CHECK(record.header.gradient_kind == needs.gradient_kind);
      std::vector<std::string> names;
      for (const auto& entry : record.header.tensors) {
        names.push_back(entry.name);
        CHECK(entry.shape == std::vector<std::int64_t>{rows_of_tensor(entry.name, needs, 4), 4, 8, 8});
      }
      CHECK(names == wanted);
      const Tensor score =
          scene.bench.reward->score(decode_image(*scene.bench.vae, tensor_of(record, "y").narrow(0, 3, 1)), {record.header.prompt});
      CHECK(record.header.reward == doctest::Approx(score.item<double>()).epsilon(1e-5));
    }
  }
}

TEST_CASE("a ReFL record is its late transition alone, with the reward of the final picture") {
  const TinyModel model;
  RunConfig config = model.config();
  TicketScene whole(config);
  config.experiment.method = "ReFL";
  TicketScene scene(config);
  Ticket ticket = three_slots();
  for (auto& order : ticket.slots) order.transitions = {7};
  scene.bench.policy->counters = {};
  const auto records = scene.records(ticket), reference = whole.records(three_slots());
  // Sampling is all: nothing is asked of the base.
  CHECK(scene.bench.policy->counters.forwards == 3 * 10);
  CHECK(scene.bench.policy->counters.backwards == 0);
  for (std::size_t i = 0; i < records.size(); ++i) {
    CHECK(records[i].header.transitions.size() == 1);
    CHECK(records[i].header.reward == doctest::Approx(reference[i].header.reward).epsilon(1e-5));
  }
  CHECK(tensor_of(records[0], "x")[0].equal(tensor_of(reference[0], "x")[2]));
  CHECK(tensor_of(records[0], "reward_grad_x0").size(0) == 1);
}

TEST_CASE("the Rao-Blackwell target takes the place of both reverse scores") {
  const TinyModel model;
  RunConfig config = model.config();
  config.model.reverse_target = "rao_blackwell";
  TicketScene scene(config);
  const auto record = scene.records(three_slots())[0];
  CHECK(record.find("reverse_rao_blackwell") != nullptr);
  for (const char* name : {"reverse_score_reference", "reverse_score_policy"}) CHECK(record.find(name) == nullptr);
}

TEST_CASE("a record of lean adjoints has that of its final picture at the terminal row, carried back at the others") {
  const TinyModel model;
  RunConfig config = model.config();
  config.model.gradient = "lean_adjoint";
  TicketScene scene(config);
  config.model.gradient = "terminal";
  TicketScene other(config);
  const auto adjoint = tensor_of(scene.records(three_slots())[1], "reward_grad_y");
  const auto terminal = tensor_of(other.records(three_slots())[1], "reward_grad_y");
  CHECK(relative_error(adjoint[3], terminal[3]) < 1e-4);
  CHECK(relative_error(adjoint[0], terminal[0]) > 1e-2);
}

TEST_CASE("noisings are those of the slot, whatever the batch") {
  const TinyModel model;
  RunConfig config = model.config();
  config.experiment.method = "DRaFT-LV";
  TicketScene scene(config);
  Ticket alone = three_slots();
  alone.slots = {alone.slots[1]};
  const Tensor together = tensor_of(scene.records(three_slots())[1], "renoised_x"),
               by_itself = tensor_of(scene.records(alone)[0], "renoised_x");
  CHECK(relative_error(by_itself, together) < 1e-4);
  CHECK(relative_error(together[0], together[1]) > 1e-3);
}

TEST_CASE("the same ticket gives the same bytes, whoever works on it and whatever came before") {
  const TinyModel model;
  TicketScene scene(model.config()), other(model.config());
  const auto first = scene.sample(three_slots()), again = scene.sample(three_slots());
  Ticket different = three_slots();
  different.slots[0].slot = 50;
  other.sample(different);
  RecordOrigin elsewhere = kOrigin;
  elsewhere.actor_id = "actor-2";
  const auto theirs = other.sample(three_slots(), elsewhere);
  for (std::size_t i = 0; i < first.size(); ++i) {
    CHECK(same_bytes(first[i].header, again[i].header));
    CHECK(same_bytes(first[i].data, again[i].data));
    CHECK(same_bytes(first[i].data, theirs[i].data));
    CHECK_FALSE(same_bytes(first[i].header, theirs[i].header));
    RecordHeader header = decode_record(theirs[i], {}).record.header;
    header.actor_id = kOrigin.actor_id;
    CHECK(same_bytes(encode_record(header, {header.tensors, theirs[i].data}).header, first[i].header));
  }
}

TEST_CASE("a slot's number, seed and prompt decide its trajectory") {
  const TinyModel model;
  TicketScene scene(model.config());
  const Tensor x = tensor_of(scene.records(three_slots())[0], "x");
  Ticket ticket = three_slots();
  ticket.slots[0].slot = 23;
  CHECK(relative_error(tensor_of(scene.records(ticket)[0], "x"), x) > 0.1);
  ticket = three_slots();
  ticket.slots[0].seed = 78;
  CHECK(relative_error(tensor_of(scene.records(ticket)[0], "x"), x) > 0.1);
  ticket = three_slots();
  ticket.slots[0].prompt = "three gray rings";
  CHECK(relative_error(tensor_of(scene.records(ticket)[0], "x"), x) > 1e-4);
}

TEST_CASE("a ticket that cannot be worked on is refused with its number and the fault") {
  const TinyModel model;
  TicketScene scene(model.config());
  Ticket ticket = three_slots();
  ticket.slots.clear();
  check_ticket_fault(scene, ticket, "no slots");
  ticket = three_slots();
  ticket.slots[1].transitions.pop_back();
  check_ticket_fault(scene, ticket, "slot 21 has 3 transitions");
  ticket = three_slots();
  ticket.slots[2].transitions[1] = 10;
  check_ticket_fault(scene, ticket, "transition 10 of slot 22");
  ticket = three_slots();
  ticket.slots[0].transitions = {0, 3, 7, 8};
  check_ticket_fault(scene, ticket, "slot 20 do not end with the terminal one, 9");
  ticket = three_slots();
  ticket.slots[0].transitions = {3, 0, 7, 9};
  check_ticket_fault(scene, ticket, "slot 20 do not ascend");
}

TEST_CASE("progress grows with every step, names the stages and counts rows through every network") {
  const TinyModel model;
  TicketScene scene(model.config());
  std::vector<std::string> stages;
  std::int64_t steps = 0;
  Progress progress(
      [&](const Heartbeat& heartbeat) {
        if (stages.empty() || stages.back() != heartbeat.stage) stages.push_back(heartbeat.stage);
        steps = heartbeat.steps_done;
      },
      std::stop_token());
  scene.bench.policy->counters = {};
  sample_ticket(scene.bench, scene.config, three_slots(), kOrigin, progress);
  CHECK(stages == std::vector<std::string>{"sampling", "reference", "reward_gradient", "encoding"});
  CHECK(steps == 12);
  CHECK(progress.state().stage_seconds.at("sampling") > 0.0);
  CHECK(progress.state().peak_rss_bytes > 0);
  // 3 trajectories of 10 steps; 12 points of which 9 are not terminal.
  CHECK(scene.bench.policy->counters.forwards == 30 + 12 + 12 + 9);
  CHECK(scene.bench.policy->counters.backwards == 3 * 12 + 9);
  CHECK(scene.bench.counters.decoder_forwards == 24);
  CHECK(scene.bench.counters.decoder_backwards == 24);
  CHECK(scene.bench.counters.reward_forwards == 24);
  CHECK(scene.bench.counters.reward_backwards == 24);
}

TEST_CASE("a stop ends a ticket at its next step") {
  const TinyModel model;
  TicketScene scene(model.config());
  std::stop_source stop;
  Progress progress(
      [&](const Heartbeat& heartbeat) {
        if (heartbeat.steps_done == 4) stop.request_stop();
      },
      stop.get_token());
  check_error(
      ExitCode::kFailure, [&] { sample_ticket(scene.bench, scene.config, three_slots(), kOrigin, progress); }, "stopped");
  CHECK(progress.state().steps_done == 4);
  CHECK(scene.bench.policy->counters.forwards == 5 * 3);
}

TEST_CASE("bfloat16 networks make float32 records near those of float32 networks") {
  const TinyModel model;
  RunConfig rounded_config = model.config();
  rounded_config.training.mixed_precision = "bf16";
  TicketScene exact(model.config()), rounded(rounded_config);
  const Ticket ticket = three_slots();
  const auto expected = exact.records(ticket), records = rounded.records(ticket);
  for (std::size_t i = 0; i < records.size(); ++i) {
    for (const auto& entry : records[i].header.tensors) {
      INFO(entry.name);
      CHECK((entry.dtype == DType::kF32));
    }
    CHECK(relative_error(tensor_of(records[i], "x"), tensor_of(expected[i], "x")) < 0.1);
    CHECK(records[i].header.reward == doctest::Approx(expected[i].header.reward).epsilon(0.05));
  }
}

TEST_CASE("pictures that are decoded a few at a time give the same records") {
  const TinyModel model;
  RunConfig sliced_config = model.config();
  sliced_config.actors.decode_rows = 2;
  TicketScene whole(model.config()), sliced(sliced_config);
  const Ticket ticket = three_slots();
  const auto expected = whole.records(ticket), records = sliced.records(ticket);
  for (std::size_t i = 0; i < records.size(); ++i) {
    for (const char* name : {"reward_grad_y", "reward_grad_x"})
      CHECK(relative_error(tensor_of(records[i], name), tensor_of(expected[i], name)) < 1e-5);
    CHECK(records[i].header.reward == doctest::Approx(expected[i].header.reward).epsilon(1e-5));
  }
}

TEST_CASE("recomputed activations give the same records, whatever is predicted between") {
  const TinyModel model;
  RunConfig lean_config = model.config();
  lean_config.model.reverse_target = "rao_blackwell";
  const RunConfig plain_config = lean_config;
  lean_config.actors.activation_checkpointing = true;
  TicketScene plain(plain_config), lean(lean_config);
  const Ticket ticket = three_slots();
  const auto expected = plain.records(ticket), records = lean.records(ticket);
  for (std::size_t i = 0; i < records.size(); ++i) {
    for (const char* name : {"reward_grad_y", "reverse_rao_blackwell"})
      CHECK(relative_error(tensor_of(records[i], name), tensor_of(expected[i], name)) < 1e-6);
  }
}
