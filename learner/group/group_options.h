#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace nabla {

// How the ranks of a group find each other.
struct GroupOptions {
  int rank = 0, size = 1;
  std::string host = "127.0.0.1";              // where rank 0 is to be found
  std::uint16_t port = 0;                      // of the rendezvous
  int listener = -1;                           // rank 0: the socket of that port, bound already; -1: the group binds one on all addresses
  bool store_of_launcher = false;              // who started the ranks keeps the rendezvous (torchrun's agent)
  std::string session = "0";                   // tells the attempts apart that meet at one address
  double rendezvous_deadline_s = 120;          // until all ranks must have come
  double collective_deadline_s = 30;           // how long a rank may be silent, or a call take after all have come to it
  double late_deadline_s = 600;                // how long the other ranks wait for one that is alive but busy with something else
  std::function<std::string()> obstacle = {};  // asked while ranks are waited for: why they will not come; "" where nothing keeps them
};

}  // namespace nabla
