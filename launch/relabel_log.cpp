#include "launch/relabel_log.h"

#include "actors/relabel_samples.h"
#include "common/error.h"
#include "common/files.h"
#include "common/log.h"
#include "launch/evaluation/judged_run.h"
#include "launch/run_folder.h"
#include "launch/yaml_config.h"
#include "learner/saved_trajectories.h"
#include "learner/transition_choice.h"
#include "protocol/trajectory_log.h"

#include <algorithm>
#include <filesystem>

namespace nabla {

namespace fs = std::filesystem;

namespace {

constexpr const char* kGrowing = ".partial";

// Makes the folders around the new one; a folder that is there says who made it.
void prepare_place(const std::string& out) {
  if (fs::exists(out))
    throw usage_error("[relabel] --out '{}' is there already; a log is never written over, name another folder", out);
  const std::string bare = bare_path(out), growing = bare + kGrowing;
  if (fs::exists(growing)) {
    throw usage_error(
        "[relabel] '{}' is there: another relabel writes it, or one was killed; in the latter case remove it and start again", growing);
  }
  std::error_code error;
  const fs::path parent = fs::path(bare).parent_path();
  if (!parent.empty()) fs::create_directories(parent, error);
  if (error) throw failure("[relabel] cannot make the folder '{}': {}", parent.string(), error.message());
}

void require_relabellable(const RunConfig& config) {
  const RecordNeeds needs = record_needs_of(config);
  if (needs.gradient_kind == "lean_adjoint") {
    throw usage_error(
        "[relabel] the gradient kind is lean_adjoint, which needs every state of a trajectory; a log holds those of the chosen transitions "
        "alone. "
        "Use model.gradient policy_fl, reference_fl or terminal, or sample anew");
  }
  if (needs.gradient_kind == "none") {
    throw usage_error(
        "[relabel] experiment.method {} takes from a record what the weights that sampled it decided, which nobody can recompute; "
        "sample anew",
        config.experiment.method);
  }
  if (!needs.terminal_row) {
    throw usage_error(
        "[relabel] experiment.method {} has no terminal transition in its records, so the final picture's reward cannot be "
        "recomputed; sample anew",
        config.experiment.method);
  }
}

LogHeader take_header(TrajectoryLogReader& reader, const std::string& folder) {
  const auto first = reader.next();
  const auto* header = first ? std::get_if<LogHeader>(&*first) : nullptr;
  if (header == nullptr) throw data_error("[relabel] {} does not begin with a log header; is it a trajectory log?", folder);
  return *header;
}

// The log's own rules, but the sampler and the base model of this configuration: what they are not, cannot be recomputed.
RecordRules rules_of(const Workbench& bench, const LogHeader& header, const RunConfig& theirs) {
  RecordRules rules;
  rules.run_id = header.run_id;
  rules.step_table_id = bench.table.id;
  for (const auto& transition : bench.table.transitions)
    rules.steps.push_back({static_cast<std::int32_t>(rules.steps.size()), transition.timestep, transition.next_timestep});
  rules.latent_shape = bench.latent_shape;
  rules.needs = record_needs_of(theirs);
  rules.tokens = bench.tokenizer->max_length();
  rules.vocabulary = bench.text_encoder->config().vocab_size;
  return rules;
}

std::vector<SharedRecord> read_log(const RelabelOptions& options, const Workbench& bench) {
  TrajectoryLogReader reader(options.log);
  const LogHeader header = take_header(reader, options.log);
  if (header.base_digest != bench.base_digest) {
    throw data_error(
        "[relabel] the log was sampled from base model {}, pretrained.model {} is {}; its states mean nothing to another model",
        header.base_digest.empty() ? "unknown (an older release wrote it)" : header.base_digest, options.config.pretrained.model,
        bench.base_digest);
  }
  const RunConfig theirs = parse_config_text(header.config, fmt::format("the configuration in '{}'", options.log), {});
  if (transition_choice_of(theirs) != transition_choice_of(options.config)) {
    throw usage_error(
        "[relabel] the log holds other transitions than this configuration trains on (sampling.num_steps, model.timestep_fraction, "
        "sampling.low_var_subsampling, experiment.method); take them from that run's config.yaml");
  }
  auto samples = read_trajectories(reader, rules_of(bench, header, theirs));
  for (const auto& warning : reader.warnings()) log_warning("{}", warning);
  if (samples.empty()) throw data_error("[relabel] '{}' holds no trajectories", options.log);
  return samples;
}

// Returns the version that records are stamped with.
std::int64_t install(Workbench& bench, const std::string& weights) {
  if (weights.empty()) return 0;
  if (names_run(weights)) return std::max<std::int64_t>(0, install_judged_weights(bench, open_judged_run("", weights, {})));
  if (!fs::is_regular_file(weights))
    throw data_error("[relabel] --weights '{}' is neither a LoRA file nor a run folder, with or without @VERSION behind it", weights);
  install_lora_file(*bench.policy, weights);
  return 0;
}

}  // namespace

RelabelReport relabel_log(const RelabelOptions& options, const std::stop_token& stop) {
  const RunConfig& config = options.config;
  require_relabellable(config);
  Workbench bench = make_workbench(config);
  const auto samples = read_log(options, bench);
  RecordOrigin origin{make_run_id(), "relabel", install(bench, options.weights), bench.policy->digest()};
  prepare_place(options.out);
  AtomicFolder folder(options.out, kGrowing);
  const std::string text = config_text_of(config);
  write_file(folder.temporary_path() + "/config.yaml", text);
  TrajectoryLogOptions log_options;
  log_options.folder = folder.temporary_path() + "/queue/rank-0";
  log_options.durability = durability_from_name(config.log.durability);
  const auto log = TrajectoryLog::create(log_options, {origin.run_id, "", text, bench.base_digest, origin.digest});
  Progress progress([](const Heartbeat&) {}, stop);
  const auto batch = static_cast<std::size_t>(config.fleet.ticket_size);
  for (std::size_t first = 0; first < samples.size(); first += batch) {
    const std::span part(samples.data() + first, std::min(batch, samples.size() - first));
    for (const auto& record : relabel_samples(bench, config, part, origin, progress)) log->append(record);
    log_info("{} of {} trajectories", first + part.size(), samples.size());
  }
  log->close();
  folder.commit();
  return {std::ssize(samples), origin.digest};
}

}  // namespace nabla
