#include "launch/memory_plan.h"

#include "actors/actor_memory.h"
#include "common/diffusion/model_folder.h"
#include "common/heap.h"
#include "learner/learner_memory.h"
#include "learner/transition_choice.h"

#include <fmt/format.h>

namespace nabla {

namespace {

double mib(std::int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

Finding role_finding(const std::string& role, const RoleMemory& memory, std::int64_t process, const std::string& device) {
  std::string text = fmt::format("{:.0f} MiB of tensors at the peak: weights {:.0f}", mib(memory.peak()), mib(memory.weights));
  for (const auto& [stage, bytes] : memory.stages) text += fmt::format(", {} {:.0f} more", stage, mib(bytes - memory.weights));
  text += device == "cpu" ? fmt::format("; the process {:.0f} MiB", mib(process)) : fmt::format("; on {}", device);
  return {Verdict::kOk, role, text};
}

}  // namespace

MemoryPlan plan_memory(const RunConfig& config) {
  MemoryPlan plan;
  plan.program = resident_bytes();
  const auto unet = ModelFolder::open(config.pretrained.model).load_unet(Placement(at::kFloat, at::kMeta));
  const std::int64_t side = unet->config().sample_size;
  plan.learner_records = record_bytes_of_update(config, {unet->config().in_channels, side, side});
  plan.actor = plan_actor_memory(config, rows_per_slot(transition_choice_of(config)));
  plan.learner = plan_learner_memory(config);
  return plan;
}

std::vector<Finding> memory_findings(const RunConfig& config, const MemoryPlan& plan, std::uint64_t available_bytes) {
  const std::int64_t actor = plan.program + plan.actor.peak(), learner = plan.program + plan.learner.peak() + plan.learner_records;
  std::vector<Finding> findings{role_finding("actor", plan.actor, actor, config.actors.device),
                                role_finding("learner", plan.learner, learner, config.learner.device)};
  const std::int64_t needed =
      (config.actors.device == "cpu" ? config.actors.count * actor : 0) + (config.learner.device == "cpu" ? learner : 0);
  const bool fits = needed <= static_cast<std::int64_t>(available_bytes);
  findings.push_back(
      {fits ? Verdict::kOk : Verdict::kFailed, "all together",
       fmt::format("{:.0f} MiB for {} actors and the learner, {:.0f} MiB available", mib(needed), config.actors.count,
                   mib(static_cast<std::int64_t>(available_bytes))),
       fits ? ""
            : "take fewer actors, a smaller fleet.ticket_size or training.batch_size (with more gradient_accumulation_steps the update "
              "stays the same), actors.decode_rows, activation_checkpointing, or training.mixed_precision=bf16"});
  return findings;
}

}  // namespace nabla
