#include "tests/chaos/footprint.h"

#include "tests/testing.h"

#include <unistd.h>

using namespace nabla::chaos;

namespace {

constexpr std::int64_t kMib = std::int64_t{1} << 20;

std::string growth_between(const Footprint& early, const Footprint& late) { return find_growth({early, late}); }

}  // namespace

TEST_CASE("a process that stays as it is is flat, one that grows is not") {
  CHECK(growth_between({100 * kMib, 20}, {106 * kMib, 24}).empty());
  CHECK(growth_between({100 * kMib, 20}, {50 * kMib, 16}).empty());
  CHECK(growth_between({100 * kMib, 20}, {108 * kMib, 20}) == "memory grew from 100.0 to 108.0 MiB");
  CHECK(growth_between({100 * kMib, 20}, {100 * kMib, 25}) == "descriptors went from 20 to 25");
}

TEST_CASE("growth is from the second sixth to the last") {
  std::vector<Footprint> samples;
  for (std::int64_t i = 0; i < 12; ++i) samples.push_back({i, 10 * i});
  const Growth growth = growth_of(samples);
  CHECK(growth.early.descriptors == 25);
  CHECK(growth.late.descriptors == 105);
}

TEST_CASE("this process has memory and descriptors") {
  const Footprint footprint = footprint_of(::getpid());
  CHECK(footprint.resident_bytes > kMib);
  CHECK(footprint.descriptors >= 3);
}
