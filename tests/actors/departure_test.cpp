#include "actors/departure.h"

#include "tests/testing.h"

#include <condition_variable>
#include <mutex>

using namespace nabla;

namespace {

using std::chrono::milliseconds;

// Longer than any test; nothing waits for it.
constexpr milliseconds kLong{600'000};

// Blocks until stop is requested there.
void wait_for(const std::stop_token& token) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait(lock, token, [] { return false; });
}

struct Signals {
  std::stop_source leave, stop;
};

}  // namespace

TEST_CASE("nobody departs who was not asked to") {
  const Signals signals;
  const Departure departure(signals.leave.get_token(), signals.stop.get_token());
  CHECK_FALSE(departure.requested());
  CHECK_FALSE(departure.ends_at_once());
  CHECK_FALSE(departure.leave_token().stop_requested());
}

TEST_CASE("a stop ends everything at once") {
  Signals signals;
  Departure departure(signals.leave.get_token(), signals.stop.get_token());
  departure.finish_tickets_within(kLong);
  signals.stop.request_stop();
  CHECK(departure.ends_at_once());
  CHECK(departure.at_once_token().stop_requested());
  CHECK(departure.requested());
}

TEST_CASE("a request to leave lets the ticket in hand be finished") {
  Signals signals;
  Departure departure(signals.leave.get_token(), signals.stop.get_token());
  departure.finish_tickets_within(kLong);
  signals.leave.request_stop();
  CHECK(departure.requested());
  CHECK(departure.leave_token().stop_requested());
  CHECK_FALSE(departure.ends_at_once());
}

TEST_CASE("a ticket that takes longer than its time is given back") {
  Signals signals;
  Departure departure(signals.leave.get_token(), signals.stop.get_token());
  departure.finish_tickets_within(milliseconds(30));
  const auto start = std::chrono::steady_clock::now();
  signals.leave.request_stop();
  wait_for(departure.at_once_token());
  CHECK(std::chrono::steady_clock::now() - start >= milliseconds(30));
}

TEST_CASE("before there can be a ticket, a request to leave ends everything at once") {
  Signals signals;
  const Departure departure(signals.leave.get_token(), signals.stop.get_token());
  signals.leave.request_stop();
  wait_for(departure.at_once_token());
  CHECK(departure.ends_at_once());
}

TEST_CASE("what was requested before it began counts") {
  Signals leaving, stopping;
  leaving.leave.request_stop();
  stopping.stop.request_stop();
  const Departure first(leaving.leave.get_token(), leaving.stop.get_token()), second(stopping.leave.get_token(), stopping.stop.get_token());
  CHECK(first.requested());
  wait_for(first.at_once_token());
  CHECK(second.ends_at_once());
}

TEST_CASE("a run that is over ends a departure that waits for its ticket, and its end waits for no timer") {
  Signals signals;
  Departure departure(signals.leave.get_token(), signals.stop.get_token());
  departure.finish_tickets_within(kLong);
  signals.leave.request_stop();
  departure.end_at_once();
  CHECK(departure.ends_at_once());
}
