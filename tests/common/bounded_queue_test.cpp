#include "common/bounded_queue.h"
#include "tests/testing.h"

#include <atomic>
#include <memory>
#include <stop_token>
#include <thread>
#include <vector>

namespace nabla {

using namespace std::chrono_literals;

TEST_CASE("items leave the queue in the order they entered") {
  BoundedQueue<int> queue(3);
  CHECK(queue.push(1));
  CHECK(queue.push(2));
  CHECK(queue.size() == 2);
  CHECK(queue.pop() == 1);
  CHECK(queue.pop() == 2);
  CHECK_FALSE(queue.try_pop().has_value());
}

TEST_CASE("a full queue gives a tried value back and takes it when there is room") {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  CHECK_FALSE(queue.try_push(std::make_unique<int>(1)).has_value());
  auto returned = queue.try_push(std::make_unique<int>(2));
  REQUIRE(returned.has_value());
  CHECK(**returned == 2);
  returned = queue.push_for(std::move(*returned), 1ms);
  REQUIRE(returned.has_value());
  CHECK(**returned == 2);
  CHECK(**queue.pop() == 1);
  CHECK_FALSE(queue.push_for(std::move(*returned), 1ms).has_value());
  CHECK(**queue.pop() == 2);
}

TEST_CASE("push waits while the queue is full and goes on when an item leaves") {
  BoundedQueue<int> queue(1);
  queue.push(1);
  std::atomic<bool> pushed = false;
  std::jthread producer([&] {
    queue.push(2);
    pushed = true;
  });
  CHECK_FALSE(pushed);  // cannot pass before the pop below
  CHECK(queue.pop() == 1);
  CHECK(queue.pop() == 2);
  producer.join();
  CHECK(pushed);
}

TEST_CASE("pop returns nothing once closed and drained") {
  BoundedQueue<int> queue(2);
  queue.push(7);
  queue.close();
  CHECK(queue.closed());
  CHECK(queue.pop() == 7);
  CHECK_FALSE(queue.pop().has_value());
  CHECK_FALSE(queue.pop_for(1h).has_value());  // does not wait
}

TEST_CASE("a closed queue takes nothing and gives the value back") {
  BoundedQueue<int> queue(2);
  queue.close();
  CHECK_FALSE(queue.push(1));
  CHECK(queue.try_push(2) == 2);
  CHECK(queue.push_for(3, 1h) == 3);
  CHECK(queue.size() == 0);
}

TEST_CASE("close wakes a push and a pop that wait") {
  BoundedQueue<int> empty(1), full(1);
  full.push(1);
  bool pushed = true;
  std::optional<int> popped = 1;
  {
    std::jthread consumer([&] { popped = empty.pop(); });
    std::jthread producer([&] { pushed = full.push(2); });
    empty.close();
    full.close();
  }
  CHECK_FALSE(popped.has_value());
  CHECK_FALSE(pushed);
}

TEST_CASE("pop_for gives up on an open, empty queue") {
  BoundedQueue<int> queue(1);
  CHECK_FALSE(queue.pop_for(1ms).has_value());
  CHECK_FALSE(queue.closed());
}

TEST_CASE("a stop callback that closes the queue ends its consumer") {
  BoundedQueue<int> queue(1);
  std::jthread consumer([&](std::stop_token stop) {
    std::stop_callback on_stop(stop, [&] { queue.close(); });
    while (queue.pop()) {
    }
  });
  queue.push(1);
  consumer.request_stop();
  consumer.join();
  CHECK(queue.closed());
}

TEST_CASE("nothing is lost or doubled between many producers and consumers") {
  constexpr int kProducers = 3, kItems = 500;
  BoundedQueue<int> queue(4);
  std::atomic<int> sum = 0, count = 0;
  {
    std::vector<std::jthread> consumers;
    for (int c = 0; c < 3; ++c) {
      consumers.emplace_back([&] {
        while (auto item = queue.pop()) {
          sum += *item;
          ++count;
        }
      });
    }
    {
      std::vector<std::jthread> producers;
      for (int p = 0; p < kProducers; ++p) {
        producers.emplace_back([&] {
          for (int i = 1; i <= kItems; ++i) queue.push(i);
        });
      }
    }
    queue.close();
  }
  CHECK(count == kProducers * kItems);
  CHECK(sum == kProducers * kItems * (kItems + 1) / 2);
}

}  // namespace nabla
