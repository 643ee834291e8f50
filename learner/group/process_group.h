#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <vector>

namespace at {
class Tensor;
}

namespace nabla {

using at::Tensor;

// The ranks of a learner. All of them make the same calls in the same order, each from one thread. A call returns once every rank has come to it and
// throws network_error, naming the rank, where one does not: because it is dead, frozen or late, or because it has called abort(). After an error
// the group is of no more use.
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  // Adds up a float tensor over all ranks, in place. Every rank gets the same bits.
  virtual void all_reduce_sum(Tensor& values) = 0;
  // What every rank brought, in the order of ranks; may differ in length.
  virtual std::vector<std::string> all_gather(const std::string& bytes) = 0;
  // Copies rank `root`'s tensor into everybody's.
  virtual void broadcast(Tensor& values, int root) = 0;
  // The flags that any rank has set.
  virtual std::uint32_t vote(std::uint32_t flags) = 0;
  // Ends the group: the other ranks' calls throw with this reason, now or later. Waits a few seconds at most for them to hear of it.
  virtual void abort(const std::string& reason) = 0;

 protected:
  ProcessGroup(int rank, int size) : rank_(rank), size_(size) {}

 private:
  const int rank_, size_;
};

// What `work` returns; what it throws ends the group with that reason, so that no other rank waits for this one.
template <class Work>
auto abort_on_error(ProcessGroup& group, Work work) {
  try {
    return work();
  } catch (const std::exception& error) {
    group.abort(error.what());
    throw;
  }
}

}  // namespace nabla
