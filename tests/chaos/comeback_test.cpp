#include "tests/chaos/comeback.h"

#include "tests/testing.h"

using namespace nabla::chaos;

TEST_CASE("a comeback takes until the last of those who are awaited has said hello") {
  Comeback comeback;
  comeback.begin(2, 10, 1.0);
  comeback.look(11, 1.5);
  CHECK(comeback.waits());
  comeback.look(12, 3.0);
  CHECK(!comeback.waits());
  CHECK(comeback.times() == 1);
  CHECK(comeback.longest_s() == 2.0);
  comeback.begin(1, 12, 5.0);
  comeback.look(13, 5.5);
  CHECK(comeback.times() == 2);
  CHECK(comeback.longest_s() == 2.0);
  CHECK(comeback.is_prompt());
}

TEST_CASE("nobody is awaited for ever, and who is late is not prompt") {
  Comeback comeback;
  comeback.begin(1, 0, 0.0);
  comeback.abandon();
  comeback.look(0, 100.0);
  CHECK(comeback.times() == 0);
  comeback.begin(1, 0, 100.0);
  comeback.look(0, 105.1);
  CHECK(!comeback.waits());
  CHECK(!comeback.is_prompt());
}
