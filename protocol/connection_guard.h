#pragma once

#include <dirent.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
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
  // `ports` of this process are watched. With keys a peer is a stranger until it has passed the handshake. failure where there is no /proc.
  ConnectionGuard(std::vector<std::uint16_t> ports, bool has_keys, const ConnectionLimits& limits);

  // A message of `routing`, who proved to hold `key`, came by this descriptor; the address at its far end where it is the first one, else null.
  const std::string* note(int descriptor, const std::string& routing, const std::string& key);
  // A message of the connection was not looked at, for its sender is turned away: one that goes on all the same is ended.
  void note_unheard(int descriptor);
  // A connection was taken. It is looked at more often than others until it has passed the handshake.
  void note_arrival(int descriptor, std::chrono::steady_clock::time_point now);
  // When due, ends the connections that are above their limits; returns how many. Takes 4% of the time at most.
  std::size_t watch(std::chrono::steady_clock::time_point now);
  // The descriptors that listen at the ports.
  std::vector<int> listeners();
  // Ends the connections that are known to belong to a key that may not stay. One that never said anything is nobody's yet; end_connection() is for when it does.
  void end_revoked(const std::function<bool(const std::string& key)>& may_stay);
  // Ends a connection that a message came by.
  static void end_connection(int descriptor);
  // How long a server may sleep between two calls of watch().
  std::chrono::milliseconds interval() const;

 private:
  struct Connection {
    std::string routing, key, address;
    std::uint64_t messages = 0, counted_messages = 0, counted_bytes = 0, unheard = 0;
  };
  struct Stranger {
    int descriptor;
    std::chrono::steady_clock::time_point until;  // its handshake is over by then, one way or the other
  };
  struct Seen {
    int descriptor;
    std::string address;
  };
  std::vector<Seen> connections_here();
  bool is_excessive(const Seen& seen);
  std::size_t watch_strangers(std::chrono::steady_clock::time_point now);

  std::vector<std::uint16_t> ports_;
  bool has_keys_;
  ConnectionLimits limits_;
  // The list of this process's descriptors; kept open, so that it can be read when no descriptor is left to open it with.
  std::unique_ptr<DIR, int (*)(DIR*)> descriptors_;
  std::unordered_map<int, Connection> known_;  // by descriptor
  std::vector<Stranger> strangers_;
  std::chrono::steady_clock::time_point next_, next_strangers_;
};

}  // namespace nabla
