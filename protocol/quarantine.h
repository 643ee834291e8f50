#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <string>

namespace nabla {

// How much nonsense a peer may talk. A bucket of each kind is full at first, every such message takes one out, and it fills again with time.
struct QuarantineRules {
  double faults = 8, faults_per_s = 1.0 / 30;     // wrong in themselves: malformed, or refused for what they say
  double damaged = 256, damaged_per_s = 16;       // checksums that do not fit: the way's fault rather than the sender's
  std::chrono::seconds first{60}, longest{3600};  // turned away for that long, twice as long each time
  double share_of_key = 8;                        // a key's budgets are so many times an actor's: several may share it
};

// Who is turned away for a while. Peers are told apart by names of the caller's choice; no clock of its own.
class Quarantine {
 public:
  using Time = std::chrono::steady_clock::time_point;
  enum class Fault { kContent, kDamage };

  explicit Quarantine(const QuarantineRules& rules) : rules_(rules) {}

  // Takes a fault down; true if the peer is turned away from now on. `share`: its budgets are so many times the rules'.
  bool charge(const std::string& peer, Fault fault, Time now, double share = 1);
  // How long the peer is still turned away; zero: it is not.
  std::chrono::seconds left(const std::string& peer, Time now) const;
  // Nobody has a fault.
  bool empty() const { return records_.empty(); }

 private:
  struct Bucket {
    double level = 0;
    Time at;
  };
  struct Record {
    Bucket faults, damaged;
    std::chrono::seconds next;
    Time until;
  };
  void drop_harmless(Time now);

  QuarantineRules rules_;
  std::map<std::string, Record> records_;  // of peers with faults; bounded
};

}  // namespace nabla
