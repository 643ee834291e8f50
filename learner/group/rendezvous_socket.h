#pragma once

#include <cstdint>
#include <string>

namespace nabla {

// A bound TCP socket for a group's rendezvous: made before the ranks are started, so that its port is known and nobody else can take it.
class RendezvousSocket {
 public:
  // Port 0 picks a free one. network_error where the address is not this machine's or the port is taken.
  RendezvousSocket(const std::string& host, std::uint16_t port);
  ~RendezvousSocket();
  RendezvousSocket(const RendezvousSocket&) = delete;
  RendezvousSocket& operator=(const RendezvousSocket&) = delete;

  std::uint16_t port() const { return port_; }
  // Hands the descriptor over, for GroupOptions::listener.
  int release();

 private:
  int descriptor_ = -1;
  std::uint16_t port_ = 0;
};

}  // namespace nabla
