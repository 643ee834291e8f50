#pragma once

#include "learner/learner_model.h"
#include "protocol/snapshot.h"

#include <cstdint>
#include <memory>

namespace nabla {

// The learner's weights as they are sent, and how far they are from the base.
struct Publication {
  Snapshot snapshot;
  double drift = 0;  // RMS(eps_theta - eps_reference) / RMS(eps_reference) on the check input
};

// Makes snapshots with their check pair: eps_theta - eps_reference on one fixed input (two noises at an early and a late step of the table). `model` must
// outlive it.
class Publisher {
 public:
  explicit Publisher(LearnerModel& model);
  Publication publish(std::int64_t version);
  // That of a publication, without making one.
  double drift();

 private:
  struct CheckPair {
    Tensor reference, difference;  // [2,C,h,w] eps_reference, eps_theta - eps_reference
    double drift() const;
  };
  CheckPair predict_check_pair();

  LearnerModel& model_;
  Tensor sample_, timestep_;   // [2,C,h,w], [2]
  Conditioning conditioning_;  // [2,L,D]
};

}  // namespace nabla
