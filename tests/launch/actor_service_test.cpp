#include "launch/live/actor_service.h"

#include "tests/testing.h"

using namespace nabla;

TEST_CASE("actors of one machine have metrics ports of their own") {
  CHECK(address_of_actor("127.0.0.1:9500", 0) == "127.0.0.1:9500");
  CHECK(address_of_actor("127.0.0.1:9500", 7) == "127.0.0.1:9507");
  CHECK(address_of_actor("[::1]:9500", 2) == "[::1]:9502");
  CHECK(address_of_actor("127.0.0.1:0", 2) == "127.0.0.1:0");
  CHECK(address_of_actor("", 2).empty());
}

TEST_CASE("there are no more actors than ports from the first one on") {
  CHECK(most_actors_at("127.0.0.1:65533") == 3);
  CHECK(most_actors_at("127.0.0.1:9500") == 4096);
  CHECK(most_actors_at("127.0.0.1:0") == 4096);
  CHECK(most_actors_at("") == 4096);
}
