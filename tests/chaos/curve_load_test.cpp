#include "tests/chaos/curve_load.h"

#include "tests/testing.h"

using namespace nabla::chaos;

TEST_CASE("an actor with a key delivers all it has over CURVE, and is timed") {
  const CurveLoad load = load_with_curve(2);
  CHECK(load.records == 16);
  CHECK(load.refused == 0);
  CHECK(load.record_bytes > 100'000);
  CHECK(load.mb_per_s > 0);
}
