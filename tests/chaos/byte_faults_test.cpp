#include "tests/chaos/byte_faults.h"

#include "tests/testing.h"

using namespace nabla::chaos;

namespace {

void check_none_missed(const ByteFaults& faults, std::int64_t tries) {
  INFO(faults.first_miss);
  CHECK(faults.tries == tries);
  CHECK(faults.missed == 0);
}

}  // namespace

TEST_CASE("flipped bits of a record are refused") { check_none_missed(flip_record_bits(10'000, 7), 10'000); }

TEST_CASE("a record of 4 MiB may be cut off anywhere") { check_none_missed(tear_long_tail(300, 7), 300); }

TEST_CASE("a flipped bit of a sealed segment is noticed and costs one record at most") {
  check_none_missed(rot_sealed_segment(500, 7), 500);
}
