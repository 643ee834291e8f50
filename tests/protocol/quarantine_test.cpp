#include "protocol/quarantine.h"

#include "tests/testing.h"

#include <string>

namespace nabla {

namespace {

using Fault = Quarantine::Fault;
using std::chrono::seconds;

const Quarantine::Time kStart{};

}  // namespace

TEST_CASE("a peer is turned away once its faults are used up, and no other peer is") {
  Quarantine quarantine({});
  for (int i = 0; i < 8; ++i) CHECK_FALSE(quarantine.charge("bad", Fault::kContent, kStart));
  CHECK(quarantine.left("bad", kStart).count() == 0);
  CHECK(quarantine.charge("bad", Fault::kContent, kStart));
  CHECK(quarantine.left("bad", kStart) == seconds(60));
  CHECK(quarantine.left("bad", kStart + seconds(59)) == seconds(1));
  CHECK(quarantine.left("bad", kStart + seconds(60)).count() == 0);
  CHECK(quarantine.left("good", kStart).count() == 0);
  // While it is turned away nothing is counted, and it is turned away once.
  CHECK_FALSE(quarantine.charge("bad", Fault::kContent, kStart + seconds(1)));
}

TEST_CASE("who has a larger share has more of every budget") {
  Quarantine quarantine({});
  CHECK(quarantine.empty());
  for (int i = 0; i < 64; ++i) CHECK_FALSE(quarantine.charge("key", Fault::kContent, kStart, 8));
  CHECK(quarantine.charge("key", Fault::kContent, kStart, 8));
  for (int i = 0; i < 1000; ++i) CHECK_FALSE(quarantine.charge("clumsy key", Fault::kContent, kStart + seconds(30) * (i / 8), 8));
}

TEST_CASE("a second time lasts twice as long") {
  Quarantine quarantine({});
  for (int i = 0; i < 9; ++i) quarantine.charge("bad", Fault::kContent, kStart);
  const auto later = kStart + seconds(61);
  for (int i = 0; i < 8; ++i) CHECK_FALSE(quarantine.charge("bad", Fault::kContent, later));
  CHECK(quarantine.charge("bad", Fault::kContent, later));
  CHECK(quarantine.left("bad", later) == seconds(120));
}

TEST_CASE("faults are forgiven with time") {
  Quarantine quarantine({});
  for (int i = 0; i < 1000; ++i) CHECK_FALSE(quarantine.charge("clumsy", Fault::kContent, kStart + seconds(30) * i));
}

TEST_CASE("damage on the way has a larger budget of its own") {
  Quarantine quarantine({});
  for (int i = 0; i < 256; ++i) CHECK_FALSE(quarantine.charge("far", Fault::kDamage, kStart));
  for (int i = 0; i < 8; ++i) CHECK_FALSE(quarantine.charge("far", Fault::kContent, kStart));
  CHECK(quarantine.charge("far", Fault::kDamage, kStart));
}

TEST_CASE("a flood of names does not let those go that are turned away, as long as there is room") {
  Quarantine quarantine({});
  for (int i = 0; i < 9; ++i) quarantine.charge("bad", Fault::kContent, kStart);
  for (int i = 0; i < 100'000; ++i) quarantine.charge(std::to_string(i), Fault::kContent, kStart);
  CHECK(quarantine.left("bad", kStart) == seconds(60));
}

}  // namespace nabla
