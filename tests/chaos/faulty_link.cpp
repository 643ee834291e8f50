#include "tests/chaos/faulty_link.h"

#include <fmt/format.h>

namespace nabla::chaos {

FaultyLink::FaultyLink(const Scenario& scenario, std::uint16_t control_port, std::uint16_t weights_port, std::uint64_t seed)
    : plan_(scenario.link), control_port_(control_port) {
  if (scenario.way == Way::kNamespace) {
    namespace_ = ActorNamespace::make(skipped_);
    if (namespace_) host_ = namespace_->address();
  }
  if (scenario.way == Way::kProxy) {
    control_ = std::make_unique<Proxy>(control_port, seed);
    weights_ = std::make_unique<Proxy>(weights_port, seed + 1);
    if (plan_.times == 0) set(plan_.faults);
  }
}

std::string FaultyLink::learner_address(std::uint16_t port) const { return fmt::format("tcp://{}:{}", host_, port); }

std::string FaultyLink::control_address() const { return learner_address(control_ ? control_->port() : control_port_); }

std::string FaultyLink::announced_weights() const { return weights_ ? learner_address(weights_->port()) : ""; }

std::vector<std::string> FaultyLink::prefix() const { return namespace_ ? namespace_->prefix() : std::vector<std::string>{}; }

void FaultyLink::set(const LinkFaults& faults) {
  for (const auto& proxy : {control_.get(), weights_.get()})
    if (proxy != nullptr) proxy->set(faults);
  if (namespace_) namespace_->set_cable(!faults.down);
}

void FaultyLink::move(double now_s) {
  if (plan_.times == 0 || now_s < moves_at_ || is_over()) return;
  // First some time without a fault.
  if (moves_at_ > 0) {
    on_ = !on_;
    begun_ += on_ ? 1 : 0;
    set(on_ ? plan_.faults : LinkFaults{});
  }
  moves_at_ = now_s + (on_ ? plan_.on_s : plan_.off_s);
}

LinkCounts FaultyLink::counts() const {
  LinkCounts sum;
  for (const auto& proxy : {control_.get(), weights_.get()}) {
    if (proxy == nullptr) continue;
    const LinkCounts counts = proxy->counts();
    sum = {sum.connections + counts.connections, sum.bytes + counts.bytes, sum.flips + counts.flips,
           sum.resets + counts.resets,           sum.held + counts.held,   sum.swallowed + counts.swallowed};
  }
  return sum;
}

}  // namespace nabla::chaos
