#include "learner/trajectory_queue.h"

#include "tests/testing.h"

#include <future>
#include <thread>

using namespace nabla;

namespace {

SharedRecord record_of_slot(std::int64_t slot, std::int64_t version = 0, TicketKind kind = TicketKind::kSample) {
  auto record = std::make_shared<TrajectoryRecord>();
  record->header.kind = kind;
  record->header.slot = slot;
  record->header.version = version;
  return record;
}

constexpr std::chrono::milliseconds kAtOnce{0};
constexpr std::chrono::minutes kLong{1};  // longer than anything here takes

}  // namespace

TEST_CASE("an update is handed out when all its slots are here, in slot order") {
  TrajectoryQueue queue(3);
  for (const std::int64_t slot : {2, 5, 0}) CHECK(queue.push(record_of_slot(slot)));
  CHECK(!queue.take_for(0, kAtOnce));
  queue.push(record_of_slot(1));
  const auto batch = queue.take_for(0, kAtOnce);
  REQUIRE(batch);
  REQUIRE(batch->records.size() == 3);
  for (std::int64_t i = 0; i < 3; ++i) CHECK(batch->records[static_cast<std::size_t>(i)]->header.slot == i);
}

TEST_CASE("taking waits for a slot that another thread pushes") {
  TrajectoryQueue queue(2);
  queue.push(record_of_slot(0));
  std::promise<void> started;
  auto taken = std::async(std::launch::async, [&] {
    started.set_value();
    return queue.take_for(0, kLong);
  });
  started.get_future().wait();
  queue.push(record_of_slot(1));
  CHECK(taken.get()->records.size() == 2);
}

TEST_CASE("taking waits for a discard too, and goes on without the slot") {
  TrajectoryQueue queue(2);
  auto taken = std::async(std::launch::async, [&] { return queue.take_for(0, kLong); });
  queue.push(record_of_slot(1));
  queue.discard(0);
  const auto batch = taken.get();
  REQUIRE(batch->records.size() == 1);
  CHECK(batch->records.front()->header.slot == 1);
}

TEST_CASE("closing ends a wait, and later ones at once") {
  TrajectoryQueue queue(2);
  auto taken = std::async(std::launch::async, [&] { return queue.take_for(0, kLong); });
  queue.close();
  CHECK(!taken.get());
  CHECK(queue.closed());
  CHECK(!queue.push(record_of_slot(0)));
  CHECK(!queue.take_for(0, kLong));
}

TEST_CASE("a slot counts once") {
  TrajectoryQueue queue(2);
  CHECK(queue.push(record_of_slot(0)));
  CHECK(!queue.push(record_of_slot(0)));
  queue.discard(0);  // it is here, so it stays
  queue.discard(1);
  CHECK(!queue.push(record_of_slot(1)));
  CHECK(queue.take_for(0, kAtOnce)->records.size() == 1);
}

TEST_CASE("records count as held until their update is finished") {
  TrajectoryQueue queue(2);
  for (const std::int64_t slot : {0, 1, 2}) queue.push(record_of_slot(slot));
  CHECK(queue.held_slots() == 3);
  CHECK(queue.take_for(0, kAtOnce));
  CHECK(queue.held_slots() == 3);
  queue.finish(0);
  CHECK(queue.held_slots() == 1);
}

TEST_CASE("a sample that cannot be relabelled is not handed out, but is there for its neighbours until their update is finished") {
  TrajectoryQueue queue(3, SlotContent::kSampleAndRelabel);
  const SharedRecord lost = record_of_slot(0);
  queue.push(lost);
  queue.push(record_of_slot(1));
  queue.discard(0);
  queue.discard(2);  // its sample never came
  CHECK(queue.sample_of(0) == lost);
  CHECK(queue.sample_of(2) == nullptr);
  CHECK(queue.held_slots() == 1);
  CHECK_FALSE(queue.push(record_of_slot(0, 0, TicketKind::kRelabel)));
  CHECK_FALSE(queue.take_for(0, kAtOnce));
  queue.finish(0);
  CHECK(queue.sample_of(0) == nullptr);
}

TEST_CASE("policy lag counts updates at consumption and is never negative") {
  const UpdateRecords update{.update = 5, .records = {}};
  CHECK(policy_lag(update, *record_of_slot(0, 3)) == 2);
  CHECK(policy_lag(update, *record_of_slot(0, 7)) == 0);
}
