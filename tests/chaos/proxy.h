#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace nabla::chaos {

// What a link does to the bytes that pass it, either way unless said otherwise. 0: nothing of the kind.
struct LinkFaults {
  std::chrono::milliseconds delay{0};
  std::int64_t bytes_per_s = 0;
  std::int64_t flip_every = 0;   // one random bit, on average once in so many bytes
  std::int64_t reset_every = 0;  // the connection is reset in the middle of what passes, on average once in so many bytes
  bool swallow_up = false;       // what goes from actors to the learner is read and thrown away
  bool swallow_down = false;
  bool down = false;  // bytes wait, new connections are not served: a link that is down
};

struct LinkCounts {
  std::int64_t connections = 0, bytes = 0, flips = 0, resets = 0;
  std::int64_t held = 0, swallowed = 0;  // buffers that waited for the link; bytes that were thrown away
};

// A TCP proxy on loopback with a thread of its own: what connects to its port is connected to the target's.
class Proxy {
 public:
  // network_error if no port can be had. The target may come later, and go and come again.
  Proxy(std::uint16_t target_port, std::uint64_t seed);
  ~Proxy();
  std::uint16_t port() const;
  // From now on, for connections that are there too. Any thread.
  void set(const LinkFaults& faults);
  LinkCounts counts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A port of the loopback interface that is free at the moment.
std::uint16_t free_port();

}  // namespace nabla::chaos
