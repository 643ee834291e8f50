#pragma once

#include "learner/group/group_watch.h"

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <memory>
#include <string>

namespace nabla {

// What ranks have once all of them came.
struct Rendezvous {
  c10::intrusive_ptr<c10d::Store> store;  // this attempt's keys; rank 0 keeps it unless the launcher does
  std::shared_ptr<GroupWatch> watch;
  std::string own_address;  // of this machine, as the other ranks reach it
};

// Waits for all ranks. network_error, naming those that are missing, at the deadline; on a port that is taken; where two processes say they are the same rank
// or the numbers of ranks differ.
Rendezvous meet(const GroupOptions& options);

}  // namespace nabla
