#include "learner/weights_contract.h"

#include "common/digest.h"

#include <fmt/format.h>

#include <set>

namespace nabla {

namespace {

// Whole groups that decide the weights, less the fields that only say how long or where.
const std::set<std::string>& deciding_groups() {
  static const std::set<std::string> groups{"training", "model", "sampling", "compat"};
  return groups;
}

const std::set<std::string>& other_deciding_fields() {
  static const std::set<std::string> fields{"seed",           "experiment.method",          "experiment.reward_sign", "learner.reference",
                                            "fleet.lockstep", "fleet.relabel_before_update"};
  return fields;
}

// Options that came after logs were written with this contract: they count where they differ from their default, which must stay what it is.
const std::set<std::string>& later_fields() {
  static const std::set<std::string> fields{"training.optimizer", "training.lion_beta1", "training.lion_beta2", "training.lr_scheduler",
                                            "training.lr_warmup_steps"};
  return fields;
}

bool decides_weights(const RunConfig& config, const std::string& path) {
  if (path == "training.updates") return config.training.lr_scheduler != "constant";  // the end of the schedule
  if (path == "training.ema_decay") return false;
  return other_deciding_fields().contains(path) || deciding_groups().contains(path.substr(0, path.find('.')));
}

}  // namespace

std::vector<std::string> differences_in_contract(const RunConfig& before, const RunConfig& now) {
  RunConfig first = before, second = now;
  const auto old_fields = fields_of(first), fields = fields_of(second);
  std::vector<std::string> differences;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (!decides_weights(now, fields[i].path) || old_fields[i].get() == fields[i].get()) continue;
    differences.push_back(fmt::format("{} was {}, is {}", fields[i].path, old_fields[i].get(), fields[i].get()));
  }
  return differences;
}

std::string weights_contract(const RunConfig& config, const std::string& base_digest, const std::string& prompts_digest) {
  RunConfig copy = config;
  Digest digest;
  digest.update("base ").update(base_digest).update("\nprompts ").update(prompts_digest).update("\n");
  for (const auto& field : fields_of(copy)) {
    if (later_fields().contains(field.path) && field.get() == field.default_text) continue;
    if (decides_weights(config, field.path)) digest.update(field.path).update("=").update(field.get()).update("\n");
  }
  return digest.hex();
}

}  // namespace nabla
