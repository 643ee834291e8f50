#include "launch/truth/trajectories.h"

#include "common/diffusion/sampling.h"
#include "learner/transition_choice.h"

#include <torch/types.h>

#include <numeric>

namespace nabla::truth {

namespace {

std::vector<std::int64_t> numbers(std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), first);
  return values;
}

std::vector<Tensor> run_chain(const StepTable& table, const ReferenceModel& reference, const Field& change, TrajectoryNoise noise) {
  const at::NoGradGuard no_grad;
  std::vector<Tensor> states{noise.start().to(at::kDouble).flatten(1)};
  for (std::size_t step = 0; step < table.transitions.size(); ++step) {
    const Tensor& x = states.back();
    const Tensor eps = reference.eps(step, x) + change.at(step, x);
    const Tensor mean = transition_mean(table, table.transitions[step], x, eps);
    states.push_back(mean + table.transitions[step].sigma * noise.next_step().to(at::kDouble).flatten(1));
  }
  return states;
}

}  // namespace

std::vector<Tensor> sample_slots(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference, const Field& change,
                                 std::int64_t first, std::int64_t count) {
  const std::vector<std::uint64_t> seeds(static_cast<std::size_t>(count), problem.seed);
  return run_chain(table, reference, change, TrajectoryNoise::for_slots(seeds, numbers(first, count), {problem.dimensions(), 1, 1}));
}

Tensor sample_final_states(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference, const Field& change,
                           std::int64_t count) {
  const std::vector<std::uint64_t> seeds(static_cast<std::size_t>(count), problem.seed);
  return run_chain(table, reference, change, TrajectoryNoise::for_pictures(seeds, numbers(0, count), {problem.dimensions(), 1, 1})).back();
}

std::vector<std::vector<std::int64_t>> slots_by_transition(const TruthCase& problem, std::int64_t first, std::int64_t count) {
  TransitionChoice choice;
  choice.num_steps = problem.steps;
  std::vector<std::vector<std::int64_t>> slots(static_cast<std::size_t>(problem.steps));
  for (std::int64_t slot = 0; slot < count; ++slot) {
    for (const auto step : choose_transitions(choice, problem.seed, first + slot)) slots[static_cast<std::size_t>(step)].push_back(slot);
  }
  return slots;
}

Tensor NoChange::at(std::size_t, const Tensor& x) const { return at::zeros_like(x); }

}  // namespace nabla::truth
