#pragma once

#include "learner/learner.h"

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <vector>

namespace nabla {

// A picture of one colour with a darker frame of one pixel.
inline std::vector<std::uint8_t> framed_picture(std::int64_t side, std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
  std::vector<std::uint8_t> pixels;
  for (std::int64_t y = 0; y < side; ++y) {
    for (std::int64_t x = 0; x < side; ++x) {
      const bool frame = x == 0 || y == 0 || x == side - 1 || y == side - 1;
      for (const std::uint8_t value : {red, green, blue}) pixels.push_back(frame ? static_cast<std::uint8_t>(value / 2) : value);
    }
  }
  return pixels;
}

// An evaluation of `prompts` prompts with `noises` pictures each; picture i is red i, its reward i / 10 + update.
inline EvaluationSummary synthetic_evaluation(std::int64_t update, std::int64_t prompts = 4, std::int64_t noises = 2,
                                              std::int64_t side = 32) {
  EvaluationSummary evaluation;
  evaluation.update = update;
  evaluation.reward_mean = 5.0 + 0.1 * static_cast<double>(update);
  evaluation.reward_std = 1.25;
  evaluation.has_true_reward = evaluation.has_checker = true;
  evaluation.true_reward_mean = 4.0 + 0.05 * static_cast<double>(update);
  evaluation.true_reward_std = 1.5;
  evaluation.diversity = 0.5 - 0.002 * static_cast<double>(update);
  evaluation.prompt_accuracy = 0.9;
  evaluation.color_accuracy = 0.98;
  evaluation.shape_accuracy = 0.95;
  evaluation.count_accuracy = 0.97;
  evaluation.drift = 0.01 * static_cast<double>(update);
  evaluation.height = evaluation.width = side;
  for (std::int64_t i = 0; i < prompts * noises; ++i) {
    evaluation.prompts.push_back(fmt::format("prompt number {}", i / noises));
    evaluation.rewards.push_back(static_cast<double>(i) / 10.0 + static_cast<double>(update));
    evaluation.images.push_back(framed_picture(side, static_cast<std::uint8_t>(i), 100, static_cast<std::uint8_t>(update)));
  }
  return evaluation;
}

// A finished run of 20 updates with three evaluations.
inline RunSummary synthetic_summary() {
  RunSummary summary;
  summary.exit_reason = "finished";
  summary.run_id = "20260131-142500-1a2b3c4d";
  summary.weights_digest = "0123456789abcdef0123456789abcdef";
  summary.updates = 20;
  summary.trajectories = 157;
  summary.unique_transitions = 785;
  summary.actors_seen = 3;
  summary.wall_s = 81.25;
  summary.policy_lag_mean = 0.75;
  summary.policy_lag_max = 3;
  summary.evaluation = {synthetic_evaluation(0), synthetic_evaluation(10), synthetic_evaluation(20)};
  summary.ledger = {.issued = 165, .trained = 157, .outstanding = 5, .discarded = {{"non_finite", 1}, {"attempts", 2}}};
  summary.stage_seconds = {{"sampling", 60.5}, {"learner", 12.25}};
  summary.peak_rss_bytes = {{"learner", 734003200}, {"actor", 524288000}};
  summary.counters = {{"learner_unet_forwards", 785}, {"learner_unet_backwards", 1570}, {"rejects/bad_checksum", 1}};
  return summary;
}

inline RunFacts synthetic_facts() {
  RunFacts facts;
  facts.run_id = "20260131-142500-1a2b3c4d";
  facts.updates = 20;
  facts.slots_per_update = 8;
  facts.transitions_per_slot = 5;
  return facts;
}

inline std::vector<UpdateReport> synthetic_updates() {
  std::vector<UpdateReport> updates;
  for (std::int64_t u = 1; u <= 20; ++u) {
    const auto x = static_cast<double>(u);
    updates.push_back({u,
                       4.0 * x,
                       {{"reward_mean", 5.0 + 0.1 * x + 0.3 * std::sin(x)},
                        {"loss_forward", 2.0 * std::exp(-0.2 * x)},
                        {"losses_backward", 0.5 * std::exp(-0.1 * x)},
                        {"loss_terminal", 0.02},
                        {"unetreg", 1e-5 * x},
                        {"grad_norm", 0.8 + 0.2 * std::cos(x)},
                        {"grad_norm_flow", 0.1},
                        {"policy_lag/mean", 0.5},
                        {"policy_lag/max", 2.0},
                        {"perf/images_per_s", 2.0 + 0.1 * std::sin(2.0 * x)}}});
  }
  return updates;
}

}  // namespace nabla
