#pragma once

#include "learner/learner.h"
#include "protocol/messages.h"
#include "protocol/ticket.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace nabla {

// Collects the answers to the evaluation tickets of a run and adds each evaluation up when its last picture is there. One thread at a time.
class EvaluationBook {
 public:
  // Pictures of one prompt are neighbours, `noises_per_prompt` each.
  explicit EvaluationBook(std::int64_t noises_per_prompt) : noises_per_prompt_(noises_per_prompt) {}

  void open(std::int64_t update, std::int64_t version, std::int64_t num_pictures, double drift);
  // The answer to `ticket`. Returns what is wrong with it (and keeps nothing), or nothing.
  std::optional<std::string> add(const Ticket& ticket, const EvaluationResult& result);
  // Evaluations that became complete since the last call, oldest first.
  std::vector<EvaluationSummary> take_finished();
  bool has_finished() const { return !finished_.empty(); }
  bool pending() const { return !open_.empty(); }
  // Update and drift of those that are not complete.
  std::vector<std::pair<std::int64_t, double>> open_evaluations() const;

 private:
  struct Open {
    std::int64_t update = 0, num_pictures = 0;
    double drift = 0;
    std::map<std::int64_t, EvaluationResult> chunks;  // by first picture
    std::int64_t arrived = 0;
  };
  std::int64_t noises_per_prompt_;
  std::map<std::int64_t, Open> open_;  // by version
  std::vector<EvaluationSummary> finished_;
};

}  // namespace nabla
