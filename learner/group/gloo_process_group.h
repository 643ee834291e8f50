#pragma once

#include "learner/group/group_options.h"
#include "learner/group/process_group.h"

#include <memory>

namespace nabla {

struct Rendezvous;

// Ranks on CPUs, over TCP.
class GlooProcessGroup : public ProcessGroup {
 public:
  // Waits for all ranks; errors as a call's.
  explicit GlooProcessGroup(const GroupOptions& options);
  ~GlooProcessGroup() override;

  void all_reduce_sum(Tensor& values) override;
  std::vector<std::string> all_gather(const std::string& bytes) override;
  void broadcast(Tensor& values, int root) override;
  std::uint32_t vote(std::uint32_t flags) override;
  void abort(const std::string& reason) override;

  const Rendezvous& rendezvous() const;

 private:
  struct Backend;
  std::unique_ptr<Backend> backend_;
};

}  // namespace nabla
