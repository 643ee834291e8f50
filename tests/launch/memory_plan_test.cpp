#include "launch/memory_plan.h"

#include "actors/sample_ticket.h"
#include "common/json_file.h"
#include "learner/transition_choice.h"
#include "learner/update_step.h"
#include "tests/actors/tickets.h"
#include "tests/bench/tensor_memory.h"
#include "tests/launch/captured_run.h"

using namespace nabla;

namespace {

constexpr double kTolerance = 0.1;

// A model of widths between the pocket's and Stable Diffusion's, with random weights.
class MediumModel {
 public:
  MediumModel() {
    write_pipeline(path());
    write_pocket_tokenizer(folder_.file("tokenizer"), pocket::caption_words(), 77);
    UNetConfig unet;
    unet.sample_size = 32;
    unet.block_out_channels = {64, 128, 128, 128};
    unet.cross_attention_dim = 64;
    write_network<UNet2DConditionModel>(folder_.file("unet"), "diffusion_pytorch_model", unet, 1);
    VaeConfig vae;
    vae.block_out_channels = {32, 64};
    vae.sample_size = 64;
    write_network<AutoencoderKL>(folder_.file("vae"), "diffusion_pytorch_model", vae, 2);
    ClipTextConfig text;
    text.hidden_size = 64;
    text.intermediate_size = 96;
    text.num_hidden_layers = 2;
    text.num_attention_heads = 2;
    text.vocab_size = static_cast<std::int64_t>(read_json(folder_.file("tokenizer/vocab.json")).size());
    write_network<ClipTextModel>(folder_.file("text_encoder"), "model", text, 3);
  }
  const std::string& path() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

RunConfig pocket_config() {
  const std::string assets = NABLA_CONFIGS "/../assets/pocket";
  RunConfig config;
  config.pretrained.model = assets;
  config.experiment.reward_model = assets + "/reward";
  config.sampling.num_steps = 6;
  config.sampling.guidance_scale = 3.0;
  config.model.timestep_fraction = 0.4;
  config.model.flow_channel_width = {32, 32, 64, 64};
  config.fleet.ticket_size = 4;
  config.training.batch_size = 2;
  config.training.gradient_accumulation_steps = 2;
  return config;
}

RunConfig medium_config(const MediumModel& model) {
  RunConfig config = pocket_config();
  config.pretrained.model = model.path();
  config.experiment.reward_fn = "lantern";
  config.sampling.num_steps = 3;
  config.fleet.ticket_size = 2;
  config.training.gradient_accumulation_steps = 1;
  return config;
}

Ticket ticket_of(const RunConfig& config) {
  Ticket ticket;
  ticket.id = 1;
  for (std::int64_t slot = 0; slot < config.fleet.ticket_size; ++slot)
    ticket.slots.push_back({slot, 0, "a red star", 5, choose_transitions(transition_choice_of(config), 5, slot)});
  return ticket;
}

struct Measured {
  std::int64_t actor = 0, learner = 0;
};

// An actor samples a ticket, a learner trains on it.
Measured measure(const RunConfig& config) {
  Measured measured;
  std::vector<EncodedRecord> encoded;
  {
    TensorMemory memory;
    Workbench bench = make_workbench(config);
    memory.forget_peak();
    Progress progress = silent_progress();
    encoded = sample_ticket(bench, config, ticket_of(config), {"run", "actor", 0, bench.policy->digest()}, progress);
    measured.actor = memory.peak_bytes();
  }
  UpdateRecords update;
  for (std::int64_t i = 0; i < config.slots_per_update(); ++i) {
    DecodeResult result = decode_record(encoded.at(static_cast<std::size_t>(i) % encoded.size()), {});
    INFO(result.reason);
    REQUIRE((result.reject == Reject::kNone));
    update.records.push_back(std::make_shared<TrajectoryRecord>(std::move(result.record)));
  }
  TensorMemory memory;
  LearnerModel model = make_learner_model(config, "a blue ring");
  UpdateStep step(config, model);
  memory.forget_peak();
  REQUIRE(step.train(update, {}));
  measured.learner = memory.peak_bytes();
  return measured;
}

void check_plan(const char* name, const RunConfig& config) {
  INFO(name);
  const MemoryPlan plan = plan_memory(config);
  const Measured measured = measure(config);
  const auto ratio = [](std::int64_t planned, std::int64_t real) { return static_cast<double>(planned) / static_cast<double>(real); };
  const double actor = ratio(plan.actor.peak(), measured.actor), learner = ratio(plan.learner.peak(), measured.learner);
  MESSAGE(name << ": planned / real peak of the actor " << actor << " of " << measured.actor << " bytes, of the learner " << learner
               << " of " << measured.learner);
  CHECK(std::abs(actor - 1.0) < kTolerance);
  CHECK(std::abs(learner - 1.0) < kTolerance);
}

}  // namespace

TEST_CASE("the planned peaks of the embedded model are those of its tensors, within a tenth") {
  check_plan("pocket", pocket_config());
  RunConfig sliced = pocket_config();
  sliced.actors.decode_rows = 4;
  check_plan("pocket, four pictures at once", sliced);
}

TEST_CASE("the planned peaks of a larger model are those of its tensors, within a tenth") {
  const MediumModel model;
  RunConfig config = medium_config(model);
  check_plan("medium", config);
  config.actors.activation_checkpointing = config.learner.activation_checkpointing = true;
  check_plan("medium, activations recomputed", config);
}

TEST_CASE("recomputed activations and slices plan less memory") {
  RunConfig config = pocket_config();
  const MemoryPlan whole = plan_memory(config);
  config.actors.activation_checkpointing = config.learner.activation_checkpointing = true;
  config.actors.decode_rows = 4;
  const MemoryPlan lean = plan_memory(config);
  CHECK(lean.actor.peak() < whole.actor.peak());
  CHECK(lean.learner.peak() < whole.learner.peak());
  CHECK(lean.actor.weights == whole.actor.weights);
}

TEST_CASE("a plan that does not fit fails and says what to lower") {
  const RunConfig config = pocket_config();
  const MemoryPlan plan = plan_memory(config);
  CHECK((memory_findings(config, plan, std::uint64_t{1} << 40).back().verdict == Verdict::kOk));
  const Finding tight = memory_findings(config, plan, 1 << 20).back();
  CHECK((tight.verdict == Verdict::kFailed));
  CHECK(tight.advice.find("fleet.ticket_size") != std::string::npos);
}
