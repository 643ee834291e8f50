#include "learner/rate_meter.h"

#include "tests/testing.h"

using namespace nabla;

TEST_CASE("a rate is that of the last minute") {
  RateMeter meter(100.0);
  for (int second = 0; second < 120; ++second) meter.add(second < 60 ? 10 : 2, 100.5 + second);
  CHECK(meter.per_second(219.9) == doctest::Approx(2.0));
  CHECK(meter.per_second(249.9) == doctest::Approx(1.0).epsilon(0.05));  // half of the minute was silent
  CHECK(meter.per_second(400.0) == 0.0);
}

TEST_CASE("a young rate is taken over its own age, and never over less than a second") {
  RateMeter meter(0.0);
  meter.add(6, 0.1);
  CHECK(meter.per_second(0.1) == doctest::Approx(6.0));
  CHECK(meter.per_second(3.0) == doctest::Approx(2.0));
}
