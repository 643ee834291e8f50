#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

namespace nabla {

// What a TCP peer may send before it completes a message. The library buffers whatever it is sent: whole frames before the handshake is done, and
// parts of a multipart message without end after it.
struct ConnectionLimits {
  std::uint64_t stranger_bytes = 4096;                     // before its handshake is done; an honest one takes 700
  std::uint64_t message_bytes = std::uint64_t{192} << 20;  // since its last whole message
};

// Watches the TCP connections of a server from outside of the library, which neither counts bytes nor ends connections: by the kernel's numbers, and by
// the messages that came out. Used by the server's thread.
class ConnectionGuard {
 public:
  // `ports` of this process are watched. With keys a peer is a stranger until it has passed the handshake.
  ConnectionGuard(std::vector<std::uint16_t> ports, bool has_keys, const ConnectionLimits& limits);

  // A message of `routing`, who proved to hold `key`, came by this descriptor.
  void note(int descriptor, const std::string& routing, const std::string& key);
  // When due, ends the connections that are above their limits; returns how many. Takes 2% of the time at most.
  std::size_t watch(std::chrono::steady_clock::time_point now);
  // Ends all connections but those that are known to belong to a key that may stay: also those that never said anything. Honest peers among them connect
  // anew by themselves.
  void end_others(const std::function<bool(const std::string& key)>& may_stay) const;
  // How long a server may sleep between two calls of watch().
  std::chrono::milliseconds interval() const;

 private:
  struct Connection {
    std::string routing, key, address;
    std::uint64_t messages = 0, counted_messages = 0, counted_bytes = 0;
  };
  struct Seen {
    int descriptor;
    std::string address;
  };
  std::vector<Seen> connections_here() const;
  bool is_excessive(const Seen& seen);

  std::vector<std::uint16_t> ports_;
  bool has_keys_;
  ConnectionLimits limits_;
  std::unordered_map<int, Connection> known_;  // by descriptor
  std::chrono::steady_clock::time_point next_;
};

}  // namespace nabla
