#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

namespace nabla {

// Which TCP connection belongs to which key, as far as messages have told; ZeroMQ ends no connection of its own accord. Used by one thread.
class PeerConnections {
 public:
  // A message of `routing`, who proved to hold `key`, came by this descriptor.
  void note(int descriptor, const std::string& routing, const std::string& key);
  // Ends all connections to these ports of this process but those that are known to belong to a key that may stay: also the ones that never said anything.
  // Honest peers among them connect anew by themselves. Returns how many.
  std::size_t end_others(const std::vector<std::uint16_t>& ports, const std::function<bool(const std::string& key)>& may_stay);

 private:
  struct Connection {
    std::string routing, key, address;
  };
  std::unordered_map<int, Connection> connections_;  // by descriptor
};

}  // namespace nabla
