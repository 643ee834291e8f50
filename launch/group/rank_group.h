#pragma once

#include "common/config/run_config.h"
#include "launch/child_process.h"
#include "launch/group/rank_place.h"
#include "launch/yaml_config.h"
#include "learner/group/process_group.h"
#include "learner/group/rendezvous_socket.h"

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace nabla {

// A process's part in a learner of several ranks: knows its place, starts the others where nobody else does, and brings all of them together.
class RankGroup {
 public:
  // Sets config.learner.ranks to the number that a launcher says. usage_error where what it says contradicts the configuration.
  RankGroup(RunConfig& config, const RankOptions& options);
  // Ranks that were started here get a few seconds to end by themselves.
  ~RankGroup();

  // The number that a launcher says, as an assignment: a run that goes on is configured from its folder.
  void add_to(ConfigSources& sources) const;
  int rank() const { return place_ ? place_->rank : 0; }
  // Starts the other ranks, with this process's own command line, where that is our part: their output goes to <log_folder>/rank-<number>.log. Then
  // waits for all; null for a rank that is alone. network_error, naming who did not come.
  std::shared_ptr<ProcessGroup> join(const std::string& log_folder, const std::stop_token& stop);

 private:
  void start_others(const std::string& log_folder);
  std::string obstacle(const std::stop_token& stop);

  const LearnerConfig learner_;
  std::optional<RankPlace> place_;
  std::optional<RendezvousSocket> socket_;  // rank 0's, unless a launcher keeps the rendezvous
  std::string log_folder_;
  std::vector<ChildProcess> started_;  // ranks 1, 2, ...
};

}  // namespace nabla
