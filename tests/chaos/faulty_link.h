#pragma once

#include "tests/chaos/actor_namespace.h"
#include "tests/chaos/proxy.h"
#include "tests/chaos/scenario.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nabla::chaos {

// The way between the actors of a run and its learner, with the faults that its scenario has for it.
class FaultyLink {
 public:
  FaultyLink(const Scenario& scenario, std::uint16_t control_port, std::uint16_t weights_port, std::uint64_t seed);

  // Why this system cannot have such a link; empty: it can.
  const std::string& skipped() const { return skipped_; }
  // Where the learner binds, and where actors find it.
  std::string learner_address(std::uint16_t port) const;
  std::string control_address() const;
  // What actors are told of the weights' port; empty: where it is.
  std::string announced_weights() const;
  // The words before an actor's command.
  std::vector<std::string> prefix() const;

  // Begins or ends what is due; the first time some time after the first call.
  void move(double now_s);
  bool is_on() const { return on_; }
  int begun() const { return begun_; }
  bool is_over() const { return begun_ >= plan_.times && !on_; }
  LinkCounts counts() const;

 private:
  void set(const LinkFaults& faults);

  const LinkPlan plan_;
  const std::uint16_t control_port_;
  std::string skipped_, host_ = "127.0.0.1";
  std::unique_ptr<ActorNamespace> namespace_;
  std::unique_ptr<Proxy> control_, weights_;
  double moves_at_ = 0;
  bool on_ = false;
  int begun_ = 0;
};

}  // namespace nabla::chaos
