#pragma once

#include "learner/group/group_options.h"

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <memory>
#include <string>

namespace nabla {

// Knows which ranks of a group are alive and where they are. A thread of its own writes this rank's beat into the store twice a second and reads the
// beats of the others; when the store's keeper freezes, only that thread hangs. The other calls are for the rank's thread.
class GroupWatch {
 public:
  // `store` is for the watch alone.
  GroupWatch(const GroupOptions& options, c10::intrusive_ptr<c10d::Store> store);
  ~GroupWatch();

  // Until every rank has shown a beat; network_error, naming those that have not, at the rendezvous' deadline.
  void wait_for_all();

  // The rank begins a call, by its name; its beats tell so. The number counts calls.
  void enter(const char* call);
  // Throws what must end the waiting in that call: a rank aborted, is silent or late.
  void check() const;
  // A call failed with this text, whose first line counts: c10d adds a stack. Finds out whose fault it is, in a few seconds, and throws.
  [[noreturn]] void blame(const std::string& problem) const;
  // Tells all ranks why the group ends, unless somebody told another reason before; waits until those that are alive have heard of it, a few seconds at most.
  void end(const std::string& reason);

 private:
  struct State;
  const std::shared_ptr<State> state_;  // shared with the thread, which may outlive us
};

}  // namespace nabla
