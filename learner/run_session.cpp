#include "learner/run_session.h"

#include "common/clock.h"
#include "common/device/arithmetic.h"
#include "common/device/device.h"
#include "common/error.h"
#include "common/files.h"
#include "common/heap.h"
#include "common/log.h"
#include "learner/lent_values.h"
#include "learner/weights_contract.h"

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <filesystem>

namespace nabla {

namespace {

// Before any tensor is computed, so that it can stand in a constructor's initialiser list.
RunConfig prepare_process(const RunConfig& config, int rank) {
  validate(config);
  ModelFolder::open(config.pretrained.model);  // a wrong folder is named as such, not by the first file that is missing in it
  at::set_num_threads(static_cast<int>(config.learner.threads));
  set_repeatable(config.fleet.lockstep);
  RunConfig prepared = config;
  prepared.learner.device = device_in_turn(config.learner.device, rank);
  return prepared;
}

std::string what_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& known) {
    return known.what();
  } catch (...) {
    return "unknown error";
  }
}

// A summary without the pictures that nobody will look at again, and without what is added up at the end.
RunSummary totals_of(const RunSummary& summary) {
  RunSummary totals = summary;
  for (std::size_t i = 1; i + 1 < totals.evaluation.size(); ++i) totals.evaluation[i].images.clear();
  return totals;
}

std::string digest_of_prompts(const RunPrompts& prompts) { return prompts.training.digest(); }

}  // namespace

RunSession::RunSession(const RunConfig& config, const std::string& run_dir, const std::string& run_id, RunObserver& observer,
                       std::shared_ptr<ProcessGroup> group)
    : config_(prepare_process(config, group->rank())),
      run_dir_(run_dir),
      observer_(observer),
      prompts_digest_(digest_of_prompts(open_prompts(config_))),
      plan_(config_, open_prompts(config_)),
      model_(make_learner_model(config_, plan_.evaluation_pictures().front().prompt)),
      group_(std::move(group)),
      step_(config_, model_, group_),
      start_s_(monotonic_seconds()) {
  summary_.run_id = run_id;
  require_same(*group_, "what decides the weights", weights_contract());
}

RecordRules RunSession::record_rules(const std::string& run_id) const {
  RecordRules rules;
  rules.run_id = run_id;
  rules.step_table_id = model_.table.id;
  for (const auto& transition : model_.table.transitions) {
    rules.steps.push_back({static_cast<std::int32_t>(rules.steps.size()), transition.timestep, transition.next_timestep});
  }
  rules.latent_shape = model_.latent_shape;
  rules.needs = record_needs_of(config_);
  rules.tokens = static_cast<std::int64_t>(model_.empty_prompt.size());
  rules.vocabulary = model_.text_encoder->config().vocab_size;
  return rules;
}

std::string RunSession::weights_contract() const { return nabla::weights_contract(config_, model_.base_digest, prompts_digest_); }

double RunSession::wall_s() const { return monotonic_seconds() - start_s_; }

void RunSession::announce_start(const std::string& control_endpoint, std::function<std::shared_ptr<const FleetStatus>()> status) {
  RunFacts facts;
  facts.run_id = summary_.run_id;
  facts.control_endpoint = control_endpoint;
  facts.status = std::move(status);
  facts.slots_per_update = plan_.slots_per_update();
  facts.transitions_per_slot = plan_.rows();
  facts.updates = plan_.num_updates();
  facts.first_update = first_update_;
  facts.lora_parameters = num_parameters(model_.policy->lora().parameters());
  facts.flow_parameters = model_.flow ? num_parameters(model_.flow->parameters()) : 0;
  observer_.on_start(facts);
}

std::optional<std::map<std::string, double>> RunSession::train(const UpdateRecords& update, const std::stop_token& stop) {
  const double start = monotonic_seconds();
  std::optional<std::map<std::string, double>> metrics;
  try {
    metrics = step_.train(update, stop);
  } catch (const Error& error) {
    if (!step_.non_finite() || group_->rank() != 0) throw;
    throw Error(error.code(), fmt::format("{}{}", error.what(), keep_non_finite_batch(update.update)));
  }
  const double seconds = monotonic_seconds() - start;
  timers_.add("learner", seconds);
  if (!metrics) return metrics;
  (*metrics)["timing/learner_s"] = seconds;
  ++summary_.updates;
  summary_.trajectories += std::ssize(step_.slots());
  for (const auto& slot : step_.slots()) {
    summary_.unique_transitions += slot.rows;
    lag_sum_ += static_cast<double>(slot.policy_lag);
    summary_.policy_lag_max = std::max(summary_.policy_lag_max, slot.policy_lag);
  }
  return metrics;
}

// Where it is, in words; nothing where it could not be written.
std::string RunSession::keep_non_finite_batch(std::int64_t update) const {
  const std::string folder = fmt::format("{}/nonfinite/update-{:06}", run_dir_, update);
  try {
    write_non_finite_batch(folder, *step_.non_finite(), config_, model_);
    return fmt::format(". The batch is kept in '{}'; its command.sh computes it again (nabla probe loss)", folder);
  } catch (const std::exception& error) {
    log_warning("[learner] the batch that is not finite could not be kept: {}", error.what());
    return "";
  }
}

void RunSession::share_state() {
  if (group_->size() == 1) return;
  Tensor updates = torch::tensor(std::vector<std::int64_t>{summary_.updates}, at::kLong);
  group_->broadcast(updates, 0);
  summary_.updates = updates.item<std::int64_t>();
  TensorMap state = step_.state();
  for (auto& [name, tensor] : state) group_->broadcast(tensor, 0);
  step_.load_state(state);
}

void RunSession::report_update(std::map<std::string, double> metrics) {
  metrics["global_step"] = static_cast<double>(summary_.updates);
  observer_.on_update({summary_.updates, wall_s(), std::move(metrics)});
}

void RunSession::report_evaluation(EvaluationSummary evaluation) {
  observer_.on_evaluation(evaluation);
  auto& all = summary_.evaluation;
  const auto place = std::upper_bound(all.begin(), all.end(), evaluation.update,
                                      [](std::int64_t update, const EvaluationSummary& e) { return update < e.update; });
  all.insert(place, std::move(evaluation));
}

void RunSession::export_weights() {
  export_to(run_dir_ + "/export", "LoRA");
  if (!step_.average()) return;
  const LentValues lent(model_.policy->lora(), step_.average()->values());
  export_to(run_dir_ + "/export/ema", fmt::format("LoRA averaged over the updates (training.ema_decay {})", config_.training.ema_decay));
}

// The LoRA as it stands, for others' programs.
void RunSession::export_to(const std::string& folder, const std::string& what) {
  std::filesystem::create_directories(folder);
  write_lora_diffusers(folder + "/pytorch_lora_weights.safetensors", model_.policy->lora());
  const std::string webui = config_.run.name + "_webui.safetensors";
  write_lora_kohya(folder + "/" + webui, model_.policy->lora(),
                   {{"nabla_run_id", summary_.run_id}, {"nabla_updates", fmt::format("{}", summary_.updates)}});
  write_file(folder + "/README.md",
             fmt::format("{} of run {} after {} updates (digest {}), for the base model {}.\n\n"
                         "- `pytorch_lora_weights.safetensors`: for diffusers, `pipeline.load_lora_weights(\"<this folder>\")`.\n"
                         "- `{}`: for ComfyUI and A1111 (kohya names, float16).\n",
                         what, summary_.run_id, summary_.updates, model_.policy->digest(), config_.pretrained.model, webui));
}

// What is counted elsewhere until the end, on top of what was counted before the run went on.
void RunSession::add_own_totals(RunSummary& summary) const {
  for (const auto& [stage, seconds] : timers_.all()) summary.stage_seconds[stage] += seconds;
  for (const auto& [name, count] : step_.counters()) summary.counters[name] += count;
  auto& peak = summary.peak_rss_bytes["learner"];
  peak = std::max(peak, peak_resident_bytes());
}

Checkpoint RunSession::checkpoint() const {
  Checkpoint checkpoint;
  checkpoint.run_id = summary_.run_id;
  checkpoint.weights_contract = weights_contract();
  checkpoint.base_digest = model_.base_digest;
  checkpoint.weights_digest = model_.policy->digest();
  checkpoint.next_update = next_update();
  checkpoint.training = step_.state();
  checkpoint.lag_sum = lag_sum_;
  RunSummary& so_far = checkpoint.so_far = totals_of(summary_);
  so_far.wall_s = wall_s();
  add_own_totals(so_far);
  return checkpoint;
}

void RunSession::restore(const Checkpoint& checkpoint, Restore what) {
  if (checkpoint.next_update > plan_.num_updates()) {
    throw usage_error("[learner] the run has trained {} updates, training.updates is {}; set it to at least that", checkpoint.next_update,
                      plan_.num_updates());
  }
  step_.load_state(checkpoint.training);
  if (const std::string digest = model_.policy->digest(); digest != checkpoint.weights_digest) {
    throw data_error("[checkpoint] the weights of update {} have digest {}, {} is expected", checkpoint.next_update, digest,
                     checkpoint.weights_digest);
  }
  first_update_ = summary_.updates = checkpoint.next_update;
  if (what == Restore::kWeightsAlone) return;
  summary_ = checkpoint.so_far;
  lag_sum_ = checkpoint.lag_sum;
  start_s_ -= checkpoint.so_far.wall_s;
}

LearnerResult RunSession::finish(std::exception_ptr error, bool stopped) {
  if (error) group_->abort(what_of(error));
  try {
    if (group_->rank() == 0) export_weights();
  } catch (const std::exception& problem) {
    if (error) log_error("the weights could not be exported: {}", problem.what());
    if (!error) error = std::current_exception();
  }
  summary_.weights_digest = model_.policy->digest();
  summary_.wall_s = wall_s();
  summary_.policy_lag_mean = summary_.trajectories > 0 ? lag_sum_ / static_cast<double>(summary_.trajectories) : 0.0;
  summary_.ledger.trained = summary_.trajectories;
  add_own_totals(summary_);
  summary_.exit_reason = error ? "failed: " + what_of(error) : stopped ? "stopped" : "finished";
  return {std::move(summary_), error};
}

}  // namespace nabla
