#include "common/network_address.h"

#include "tests/testing.h"

using nabla::is_loopback;

TEST_CASE("an address is of this machine alone by its number or its name, not by how it begins") {
  for (const char* address : {"tcp://127.0.0.1:5555", "127.0.0.1:0", "tcp://127.1.2.3:*", "localhost:80", "tcp://[::1]:5", "[::1]:0"}) {
    INFO(address);
    CHECK(is_loopback(address));
  }
  for (const char* address : {"tcp://0.0.0.0:5555", "10.127.0.1:0", "tcp://127.example.org:1", "localhost.example.org:80", "[::]:0", "tcp://*:5"}) {
    INFO(address);
    CHECK_FALSE(is_loopback(address));
  }
}
