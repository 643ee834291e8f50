#include "common/host_lookup.h"

#include "common/clock.h"
#include "common/error.h"
#include "tests/common/error_check.h"
#include "tests/testing.h"

#include <atomic>
#include <future>
#include <memory>
#include <thread>

using namespace nabla;

namespace {

using std::chrono::milliseconds;

// Longer than any test; nothing waits for it.
constexpr milliseconds kLong{60'000};

std::vector<std::string> never_asked(const std::string& host) { throw usage_error("asked for {}", host); }

// A name service that does not answer until this object goes.
class SilentService {
 public:
  SilentService() : answer_(promise_.get_future().share()) {}
  ~SilentService() { promise_.set_value(); }
  HostLookup look_up() const {
    return [answer = answer_](const std::string&) -> std::vector<std::string> {
      answer.wait();
      return {"10.0.0.1"};
    };
  }

 private:
  std::promise<void> promise_;
  std::shared_future<void> answer_;
};

}  // namespace

TEST_CASE("the name service is bounded: who does not answer in time is named") {
  const SilentService service;
  const double start = monotonic_seconds();
  check_error(
      ExitCode::kNetwork, [&] { addresses_of_host("learner.example", milliseconds(50), {}, service.look_up()); }, "learner.example",
      "within 50 ms");
  check_error(
      ExitCode::kNetwork, [&] { with_numeric_host("tcp://learner.example:5555", milliseconds(50), {}, service.look_up()); },
      "learner.example");
  CHECK(monotonic_seconds() - start >= 0.1);
  CHECK(monotonic_seconds() - start < 30.0);
}

TEST_CASE("a wait for the name service ends when a stop is requested") {
  const SilentService service;
  std::stop_source stop;
  const std::jthread stopper([&] { stop.request_stop(); });
  check_error(
      ExitCode::kFailure, [&] { addresses_of_host("learner.example", kLong, stop.get_token(), service.look_up()); }, "stopped",
      "learner.example");
}

TEST_CASE("a name in an address is replaced by its number, and numbers and other addresses stay") {
  const auto four = [](const std::string&) -> std::vector<std::string> { return {"10.0.0.7", "fe80::1"}; };
  const auto six = [](const std::string&) -> std::vector<std::string> { return {"fe80::1"}; };
  CHECK(with_numeric_host("tcp://learner:5555", kLong, {}, four) == "tcp://10.0.0.7:5555");
  CHECK(with_numeric_host("tcp://learner:5555", kLong, {}, six) == "tcp://[fe80::1]:5555");
  for (const char* address : {"tcp://10.1.2.3:5555", "tcp://[::1]:5555", "ipc:///tmp/x/control", "tcp://:5"})
    CHECK(with_numeric_host(address, kLong, {}, never_asked) == address);
  CHECK(addresses_of_host("127.0.0.1", kLong, {}, never_asked) == std::vector<std::string>{"127.0.0.1"});
}

TEST_CASE("a name that is not known yet is asked for again") {
  std::atomic<int> asked{0};
  const auto late = [&](const std::string& host) -> std::vector<std::string> {
    if (++asked < 2) throw network_error("cannot find {}", host);
    return {"10.0.0.7"};
  };
  CHECK(with_numeric_host("tcp://learner:5555", kLong, {}, late) == "tcp://10.0.0.7:5555");
  CHECK(asked == 2);
}

TEST_CASE("the system's name service knows this machine, and says why it does not know another") {
  const auto own = look_up_host("localhost");
  CHECK((own.front() == "127.0.0.1" || own.front() == "::1"));
  check_error(
      ExitCode::kNetwork, [] { look_up_host("no such host"); }, "cannot find the host 'no such host'");
}
