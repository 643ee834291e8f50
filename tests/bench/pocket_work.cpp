// What a fleet computes, without the fleet: the actor's and the learner's work of some updates in one process, timed stage by stage.
// Prints one JSON object. tests/oracles/bench_pocket.py does the same work in Python; tests/bench/compare_pocket.py runs both.
//
//   pocket_work [--updates N] [--config FILE] [--dump FILE] [key=value ...]
#include "actors/sample_ticket.h"
#include "common/clock.h"
#include "common/config/record_needs.h"
#include "common/error.h"
#include "launch/yaml_config.h"
#include "learner/slot_plan.h"
#include "learner/update_step.h"
#include "tests/bench/median.h"
#include "tests/bench/operation_counter.h"

#include <ATen/Parallel.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <torch/types.h>

#include <algorithm>
#include <ctime>
#include <iostream>
#include <optional>

namespace nabla {

namespace {

struct BenchOptions {
  ConfigSources sources;
  std::int64_t updates = 5;  // timed; one more before them warms up and is counted
  std::string dump;          // file of the first update's tensors, for a comparison with the Python side
};

struct StageCost {
  double seconds = 0.0, flop = 0.0;
};

// Counts rows that are scored and rows that are differentiated.
class CountingReward : public RewardModel {
 public:
  explicit CountingReward(std::unique_ptr<RewardModel> reward) : reward_(std::move(reward)) {}
  Tensor score(const Tensor& images, const std::vector<std::string>& prompts) override {
    const Tensor scores = reward_->score(images, prompts);
    rows.forward += scores.size(0);
    if (scores.requires_grad()) scores.register_hook([this](const Tensor& gradient) { rows.backward += gradient.size(0); });
    return scores;
  }
  std::string spec() const override { return reward_->spec(); }

  OperationCounter::Rows rows;

 private:
  std::unique_ptr<RewardModel> reward_;
};

double process_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// GFLOP/s of a product of two 1024x1024 matrices in float32: the best of a few, since others may share the machine.
double matrix_product_speed() {
  constexpr std::int64_t kSide = 1024;
  const Tensor a = at::ones({kSide, kSide}), b = at::ones({kSide, kSide});
  double best = 0.0;
  for (int i = 0; i < 20; ++i) {
    const double start = monotonic_seconds();
    const Tensor product = at::mm(a, b);
    best = std::max(best, 2e-9 * kSide * kSide * kSide / (monotonic_seconds() - start));
  }
  return best;
}

UpdateRecords decode_update(std::int64_t update, const std::vector<EncodedRecord>& records) {
  UpdateRecords decoded{.update = update, .records = {}};
  for (const auto& record : records) {
    DecodeResult result = decode_record(record, {});
    if (result.reject != Reject::kNone) throw failure("[bench] a record of update {} is refused: {}", update, result.reason);
    decoded.records.push_back(std::make_shared<const TrajectoryRecord>(std::move(result.record)));
  }
  return decoded;
}

class PocketWork {
 public:
  explicit PocketWork(const RunConfig& config)
      : config_(config),
        plan_(config, open_prompts(config)),
        bench_(make_workbench(config)),
        learner_(make_learner_model(config, "")),
        step_(config, learner_),
        progress_([this](const Heartbeat& state) { enter(state.stage); }, {}) {
    auto reward = std::make_unique<CountingReward>(std::move(bench_.reward));
    reward_ = reward.get();
    bench_.reward = std::move(reward);
  }

  // One update from its tickets to the next weights.
  void run(std::int64_t update, const std::string& dump) {
    progress_.begin_stage("install");
    bench_.policy->load(learner_.policy->lora().tensors());
    const TensorMap before = dump.empty() ? TensorMap{} : weights();
    const RecordOrigin origin{.run_id = "bench", .actor_id = "bench", .version = update, .digest = bench_.policy->digest()};
    std::vector<EncodedRecord> records;
    const std::int64_t tickets = plan_.slots_per_update() / plan_.ticket_size();
    for (std::int64_t i = 0; i < tickets; ++i) {
      for (auto& record : sample_ticket(bench_, config_, plan_.ticket(update * tickets + i), origin, progress_)) records.push_back(record);
    }
    progress_.begin_stage("learner");
    const UpdateRecords decoded = decode_update(update, records);
    const auto metrics = step_.train(decoded, {});
    progress_.begin_stage("");
    if (!dump.empty()) save_tensors(dump, dump_of(before, decoded, metrics.value()));
  }

  // Rows through networks and work of each stage, from one update under an OperationCounter.
  nlohmann::ordered_json count(std::int64_t update, const std::string& dump) {
    counter_.emplace();
    watch("unet", *learner_.policy);
    watch("unet", *bench_.policy);
    if (learner_.flow) counter_->watch("flow", named_tensors(*learner_.flow).at("conv_out.weight"));
    counter_->watch("vae_decoder", named_tensors(*bench_.vae).at("decoder.conv_out.weight"));
    reward_->rows = {};
    run(update, dump);
    auto rows = counter_->rows();
    rows["reward"] = reward_->rows;
    // The network sees two rows, with and without the prompt, for one guided row.
    const std::int64_t guided = config_.sampling.guidance_scale == 1.0 ? 1 : 2;
    rows["unet"] = {rows["unet"].forward / guided, rows["unet"].backward / guided};
    learner_forwards_ = stages_["learner"].flop / (static_cast<double>(transitions_per_update()) * guided_forward_flop());
    counter_.reset();
    nlohmann::ordered_json counts;
    for (const auto& [network, count] : rows) counts[network] = {{"forward_rows", count.forward}, {"backward_rows", count.backward}};
    return counts;
  }

  void forget_seconds() {
    for (auto& [stage, cost] : stages_) cost.seconds = 0.0;
  }
  const std::map<std::string, StageCost>& stages() const { return stages_; }
  // Operations of the learner for a transition, flow network included, in those of one guided forward of the U-Net; known after count().
  double learner_forwards() const { return learner_forwards_; }
  std::int64_t transitions_per_update() const { return plan_.slots_per_update() * plan_.rows(); }

  // A LoRA and a flow network that do something, so that a comparison sees them.
  void disturb_weights() {
    const at::NoGradGuard no_grad;
    for (auto& [name, tensor] : learner_.policy->lora().tensors()) tensor.add_(at::cos(at::arange(tensor.numel())).view_as(tensor), 0.05);
    if (!learner_.flow) return;
    Tensor last = named_tensors(*learner_.flow).at("conv_out.weight");
    last.add_(at::cos(at::arange(last.numel())).view_as(last), 0.05);
  }

 private:
  void watch(const std::string& network, Policy& policy) { counter_->watch(network, named_tensors(policy.unet()).at("conv_out.weight")); }

  double guided_forward_flop() {
    const at::NoGradGuard no_grad;
    PromptEncoder prompts(learner_.text_encoder);
    const Tensor prompt = prompts.encode(learner_.empty_prompt),
                 timestep = at::full({1}, learner_.table.transitions.front().timestep, at::kLong);
    std::vector<std::int64_t> shape{1};
    shape.insert(shape.end(), learner_.latent_shape.begin(), learner_.latent_shape.end());
    const double before = counter_->flop();
    learner_.policy->predict(WeightMode::kBase, at::zeros(shape), timestep, {prompt, prompt});
    return counter_->flop() - before;
  }

  void enter(const std::string& stage) {
    if (stage == stage_) return;
    const double now = monotonic_seconds(), flop = counter_ ? counter_->flop() : 0.0;
    if (!stage_.empty()) {
      stages_[stage_].seconds += now - entered_;
      if (counter_) stages_[stage_].flop += flop - flop_;
    }
    stage_ = stage;
    entered_ = now;
    flop_ = flop;
  }

  TensorMap weights() const {
    TensorMap all;
    for (const auto& [name, tensor] : learner_.policy->lora().tensors()) all["lora." + name] = tensor.detach().clone();
    if (!learner_.flow) return all;
    for (const auto& [name, tensor] : named_tensors(*learner_.flow)) all["flow." + name] = tensor.detach().clone();
    return all;
  }

  TensorMap dump_of(TensorMap all, const UpdateRecords& update, const std::map<std::string, double>& metrics) {
    PromptEncoder prompts(learner_.text_encoder);
    const MicroBatch micro = collate(update.records, learner_.table, {record_needs_of(config_), {}}, prompts, learner_.empty_prompt);
    const TransitionBatch& batch = micro.transitions;
    all.insert({{"x", batch.x},
                {"y", batch.y},
                {"timestep", batch.timestep},
                {"next_timestep", batch.next_timestep},
                {"is_terminal", batch.is_terminal.to(at::kByte)},
                {"prompt_embeds", micro.conditioning.prompt_embeds},
                {"negative_embeds", micro.conditioning.negative_embeds},
                {"eps_behaviour", batch.eps_behaviour},
                {"eps_reference", batch.eps_reference},
                {"reward_grad_y", batch.reward_grad_y}});
    if (learner_.flow) {
      all.insert({{"reward_grad_x", batch.reward_grad_x},
                  {"reverse_score_reference", batch.reverse_score_reference},
                  {"reverse_score_policy", batch.reverse_score_policy}});
      for (const auto& [name, tensor] : named_tensors(*learner_.flow)) all["grad.flow." + name] = tensor.grad();
    }
    for (const auto& [name, tensor] : learner_.policy->lora().tensors()) all["grad.lora." + name] = tensor.grad();
    for (const auto& [name, value] : metrics) all["metric." + name] = at::full({1}, value, at::kDouble);
    for (auto& [name, tensor] : all) tensor = tensor.contiguous();
    return all;
  }

  RunConfig config_;
  SlotPlan plan_;
  Workbench bench_;
  LearnerModel learner_;
  UpdateStep step_;
  Progress progress_;
  CountingReward* reward_ = nullptr;  // bench_ owns it
  std::optional<OperationCounter> counter_;
  std::map<std::string, StageCost> stages_;
  std::string stage_;
  double entered_ = 0.0, flop_ = 0.0, learner_forwards_ = 0.0;
};

// The settings that decide the work, for the other side.
nlohmann::ordered_json settings_of(const RunConfig& config) {
  return {{"model", config.pretrained.model},
          {"reward_model", config.experiment.reward_model},
          {"threads", at::get_num_threads()},
          {"batch_size", config.training.batch_size},
          {"gradient_accumulation_steps", config.training.gradient_accumulation_steps},
          {"ticket_size", config.fleet.ticket_size},
          {"num_steps", config.sampling.num_steps},
          {"eta", config.sampling.eta},
          {"guidance_scale", config.sampling.guidance_scale},
          {"timestep_fraction", config.model.timestep_fraction},
          {"chunk_rows", PointOptions{}.chunk_rows},
          {"lora_rank", config.model.lora_rank},
          {"lora_alpha", config.model.lora_alpha},
          {"reward_scale", config.model.reward_scale},
          {"reverse_loss_scale", config.model.reverse_loss_scale},
          {"unet_reg_scale", config.model.unet_reg_scale},
          {"time_weighting", config.model.time_weighting},
          {"no_flow", config.model.no_flow},
          {"flow_channel_width", config.model.flow_channel_width},
          {"flow_layers_per_block", config.model.flow_layers_per_block},
          {"lr", config.training.lr},
          {"flow_lr", config.training.flow_lr},
          {"flow_wd", config.training.flow_wd},
          {"adam_weight_decay", config.training.adam_weight_decay},
          {"max_grad_norm", config.training.max_grad_norm}};
}

void require_comparable(const RunConfig& config) {
  validate(config);
  if (config.model.gradient != "policy_fl" || config.model.reward_adaptive_mode != "squared" || config.compat.flow_from_forward_loss) {
    throw usage_error(
        "[bench] the Python side knows model.gradient policy_fl, model.reward_adaptive_mode squared and compat.flow_from_forward_loss off");
  }
  if (config.slots_per_update() % config.fleet.ticket_size != 0) {
    throw usage_error("[bench] fleet.ticket_size {} does not divide the {} slots of an update", config.fleet.ticket_size,
                      config.slots_per_update());
  }
}

nlohmann::ordered_json measure(const RunConfig& config, const BenchOptions& options) {
  PocketWork work(config);
  if (!options.dump.empty()) work.disturb_weights();
  nlohmann::ordered_json result;
  result["side"] = "nabla";
  result["settings"] = settings_of(config);
  result["counts_per_update"] = work.count(0, options.dump);
  result["learner_forward_equivalents_per_transition"] = work.learner_forwards();
  const double speed_before = matrix_product_speed();
  work.forget_seconds();
  std::vector<double> wall, cpu;
  for (std::int64_t update = 1; update <= options.updates; ++update) {
    const double start = monotonic_seconds(), cpu_start = process_seconds();
    work.run(update, {});
    wall.push_back(monotonic_seconds() - start);
    cpu.push_back(process_seconds() - cpu_start);
  }
  const double speed = std::max(speed_before, matrix_product_speed());
  const auto transitions = static_cast<double>(work.transitions_per_update());
  result["unique_transitions_per_update"] = work.transitions_per_update();
  result["update_seconds"] = wall;
  result["update_cpu_seconds"] = cpu;
  if (!wall.empty()) result["unique_transitions_per_second"] = transitions / median(wall);
  result["matrix_product_gflop_per_second"] = speed;
  for (const auto& [stage, cost] : work.stages()) {
    const double seconds = cost.seconds / static_cast<double>(options.updates), gflop = 1e-9 * cost.flop;
    result["stages"][stage] = {{"seconds", seconds}, {"gflop", gflop}, {"share_of_matrix_product_speed", gflop / seconds / speed}};
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  result["peak_rss_mib"] = usage.ru_maxrss / 1024;
  return result;
}

BenchOptions parse_arguments(const std::vector<std::string>& arguments) {
  BenchOptions options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!argument.starts_with("--")) {
      options.sources.assignments.push_back(argument);
      continue;
    }
    if (i + 1 == arguments.size()) throw usage_error("[bench] {} wants a value", argument);
    const std::string& value = arguments[++i];
    if (argument == "--updates")
      options.updates = std::stoll(value);
    else if (argument == "--config")
      options.sources.files.push_back(value);
    else if (argument == "--dump")
      options.dump = value;
    else
      throw usage_error("[bench] unknown option {}; known are --updates, --config and --dump", argument);
  }
  return options;
}

}  // namespace

}  // namespace nabla

int main(int argc, char** argv) {
  using namespace nabla;
  try {
    const BenchOptions options = parse_arguments({argv + 1, argv + argc});
    const RunConfig config = load_config(options.sources);
    require_comparable(config);
    at::set_num_threads(static_cast<int>(config.actors.threads));
    std::cout << measure(config, options).dump(2) << std::endl;
    return 0;
  } catch (const Error& error) {
    std::cerr << error.what() << std::endl;
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    return 1;
  }
}
