#pragma once

#include "launch/truth/field.h"
#include "launch/truth/reference_model.h"
#include "launch/truth/truth_case.h"

#include <cstdint>
#include <vector>

namespace nabla::truth {

// Letters: S slots, N steps, d dimensions.

// States of slots first .. first + count - 1 under the policy eps# + change: N + 1 of [S,d] float64, with the noise that a run gives those slots.
std::vector<Tensor> sample_slots(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference, const Field& change,
                                 std::int64_t first, std::int64_t count);

// Final states [count,d] under the policy, with the noise of evaluations.
Tensor sample_final_states(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference, const Field& change,
                           std::int64_t count);

// By transition: the slots among first .. first + count - 1 that train on it, numbered from 0.
std::vector<std::vector<std::int64_t>> slots_by_transition(const TruthCase& problem, std::int64_t first, std::int64_t count);

// A field that is 0 everywhere: the policy that is the base model.
class NoChange : public Field {
 public:
  Tensor at(std::size_t level, const Tensor& x) const override;
};

}  // namespace nabla::truth
