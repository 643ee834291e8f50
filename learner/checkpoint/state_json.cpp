#include "learner/checkpoint/state_json.h"

#include <nlohmann/json.hpp>

namespace nabla {

namespace {

using Json = nlohmann::ordered_json;

template <class T>
void read(const Json& json, const char* name, T& value) {
  json.at(name).get_to(value);
}

Json evaluation_json(const EvaluationSummary& evaluation) {
  return {{"update", evaluation.update},
          {"reward_mean", evaluation.reward_mean},
          {"reward_std", evaluation.reward_std},
          {"has_true_reward", evaluation.has_true_reward},
          {"true_reward_mean", evaluation.true_reward_mean},
          {"true_reward_std", evaluation.true_reward_std},
          {"has_checker", evaluation.has_checker},
          {"diversity", evaluation.diversity},
          {"prompt_accuracy", evaluation.prompt_accuracy},
          {"color_accuracy", evaluation.color_accuracy},
          {"shape_accuracy", evaluation.shape_accuracy},
          {"count_accuracy", evaluation.count_accuracy},
          {"drift", evaluation.drift},
          {"prompts", evaluation.prompts},
          {"rewards", evaluation.rewards}};
}

EvaluationSummary evaluation_of(const Json& json) {
  EvaluationSummary evaluation;
  read(json, "update", evaluation.update);
  read(json, "reward_mean", evaluation.reward_mean);
  read(json, "reward_std", evaluation.reward_std);
  read(json, "has_true_reward", evaluation.has_true_reward);
  read(json, "true_reward_mean", evaluation.true_reward_mean);
  read(json, "true_reward_std", evaluation.true_reward_std);
  read(json, "has_checker", evaluation.has_checker);
  read(json, "diversity", evaluation.diversity);
  read(json, "prompt_accuracy", evaluation.prompt_accuracy);
  read(json, "color_accuracy", evaluation.color_accuracy);
  read(json, "shape_accuracy", evaluation.shape_accuracy);
  read(json, "count_accuracy", evaluation.count_accuracy);
  read(json, "drift", evaluation.drift);
  read(json, "prompts", evaluation.prompts);
  read(json, "rewards", evaluation.rewards);
  return evaluation;
}

Json summary_json(const Checkpoint& checkpoint) {
  const RunSummary& summary = checkpoint.so_far;
  Json evaluations = Json::array();
  for (const auto& evaluation : summary.evaluation) evaluations.push_back(evaluation_json(evaluation));
  return {{"trajectories", summary.trajectories},
          {"unique_transitions", summary.unique_transitions},
          {"wall_s", summary.wall_s},
          {"lag_sum", checkpoint.lag_sum},
          {"policy_lag_max", summary.policy_lag_max},
          {"discarded", summary.ledger.discarded},
          {"stage_seconds", summary.stage_seconds},
          {"peak_rss_bytes", summary.peak_rss_bytes},
          {"counters", summary.counters},
          {"evaluations", evaluations}};
}

void read_summary(const Json& json, Checkpoint& checkpoint) {
  RunSummary& summary = checkpoint.so_far;
  summary.run_id = checkpoint.run_id;
  summary.updates = checkpoint.next_update;
  read(json, "trajectories", summary.trajectories);
  read(json, "unique_transitions", summary.unique_transitions);
  read(json, "wall_s", summary.wall_s);
  read(json, "lag_sum", checkpoint.lag_sum);
  read(json, "policy_lag_max", summary.policy_lag_max);
  read(json, "discarded", summary.ledger.discarded);
  read(json, "stage_seconds", summary.stage_seconds);
  read(json, "peak_rss_bytes", summary.peak_rss_bytes);
  read(json, "counters", summary.counters);
  for (const auto& evaluation : json.at("evaluations")) summary.evaluation.push_back(evaluation_of(evaluation));
}

Json actors_json(const std::map<std::string, ToldWork>& actors) {
  Json json = Json::object();
  for (const auto& [id, told] : actors)
    json[id] = {{"host", told.host}, {"pid", told.pid}, {"stage_seconds", told.stage_seconds}, {"counters", told.counters}};
  return json;
}

ToldWork told_work_of(const Json& json) {
  ToldWork told;
  read(json, "host", told.host);
  read(json, "pid", told.pid);
  read(json, "stage_seconds", told.stage_seconds);
  read(json, "counters", told.counters);
  return told;
}

}  // namespace

Json state_json(const Checkpoint& checkpoint) {
  Json pending = Json::array();
  for (const auto& evaluation : checkpoint.pending_evaluations)
    pending.push_back({{"update", evaluation.update}, {"drift", evaluation.drift}});
  return {{"run_id", checkpoint.run_id},
          {"next_update", checkpoint.next_update},
          {"weights_digest", checkpoint.weights_digest},
          {"weights_contract", checkpoint.weights_contract},
          {"base_digest", checkpoint.base_digest},
          {"pending_evaluations", pending},
          {"so_far", summary_json(checkpoint)},
          {"actors", actors_json(checkpoint.actors)}};
}

Checkpoint checkpoint_of(const Json& json) {
  Checkpoint checkpoint;
  read(json, "run_id", checkpoint.run_id);
  read(json, "next_update", checkpoint.next_update);
  read(json, "weights_digest", checkpoint.weights_digest);
  read(json, "weights_contract", checkpoint.weights_contract);
  read(json, "base_digest", checkpoint.base_digest);
  for (const auto& evaluation : json.at("pending_evaluations"))
    checkpoint.pending_evaluations.push_back({evaluation.at("update").get<std::int64_t>(), evaluation.at("drift").get<double>()});
  read_summary(json.at("so_far"), checkpoint);
  for (const auto& [id, told] : json.at("actors").items()) checkpoint.actors[id] = told_work_of(told);
  return checkpoint;
}

}  // namespace nabla
