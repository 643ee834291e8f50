#include "learner/actor_book.h"

#include "learner/fleet_status.h"
#include "tests/testing.h"

using namespace nabla;

namespace {

Hello hello_of(const std::string& id) {
  Hello hello;
  hello.actor_id = id;
  hello.host = "box";
  hello.pid = 7;
  return hello;
}

Heartbeat beat(const std::string& id, const std::string& stage, std::int64_t steps = 0) {
  Heartbeat heartbeat;
  heartbeat.actor_id = id;
  heartbeat.stage = stage;
  heartbeat.steps_done = steps;
  return heartbeat;
}

}  // namespace

TEST_CASE("an actor that greets is here until it leaves, and its reason stays") {
  ActorBook book;
  CHECK(book.num_connected() == 0);
  book.greet(hello_of("one"), 10.0);
  CHECK(book.num_connected() == 1);
  CHECK(book.leave("one", "said goodbye"));
  CHECK(book.num_connected() == 0);
  const auto status = book.status(12.5);
  REQUIRE(status.size() == 1);
  CHECK_FALSE(status[0].connected);
  CHECK(status[0].gone_because == "said goodbye");
  CHECK(status[0].host == "box");
  CHECK(status[0].pid == 7);
  CHECK(status[0].heard_s == 2.5);
}

TEST_CASE("an actor that comes back is here again, and nothing is left of its going") {
  ActorBook book;
  book.greet(hello_of("one"), 0.0);
  book.leave("one", "not heard of");
  book.greet(hello_of("one"), 5.0);
  CHECK(book.num_connected() == 1);
  CHECK(book.status(5.0)[0].gone_because.empty());
  CHECK(book.all().size() == 1);
}

TEST_CASE("an actor that still loads is known by its first hello once it is heard of again") {
  ActorBook book;
  book.meet(hello_of("one"));
  CHECK(book.num_connected() == 0);
  CHECK_FALSE(book.leave("one", "said goodbye"));
  book.take(beat("one", "loading"), 1.0);
  CHECK(book.num_connected() == 1);
  CHECK(book.describe(4.0) == "one (process 7 on box): loading for 3 s");
}

TEST_CASE("a visitor, who never joined, does not leave either") {
  ActorBook book;
  CHECK_FALSE(book.leave("nobody", "said goodbye"));
  CHECK(book.all().empty());
}

TEST_CASE("the status holds what an actor said last of itself, in the order of the names") {
  ActorBook book;
  book.greet(hello_of("two"), 0.0);
  book.greet(hello_of("one"), 0.0);
  Heartbeat heartbeat = beat("two", "sampling", 12);
  heartbeat.ticket_id = 30;
  heartbeat.version = 4;
  heartbeat.peak_rss_bytes = 1000;
  heartbeat.stage_seconds = {{"loading", 1.5}};
  book.take(heartbeat, 3.0);
  const auto status = book.status(4.0);
  REQUIRE(status.size() == 2);
  CHECK(status[0].id == "one");
  CHECK(status[1].id == "two");
  CHECK(status[1].stage == "sampling");
  CHECK(status[1].steps_done == 12);
  CHECK(status[1].ticket_id == 30);
  CHECK(status[1].version == 4);
  CHECK(status[1].peak_rss_bytes == 1000);
  CHECK(status[1].stage_seconds.at("loading") == 1.5);
  CHECK(status[1].heard_s == 1.0);
}

TEST_CASE("an actor moves by a step, a stage, a version, a ticket or a question for work, and not by a heartbeat that says nothing new") {
  ActorBook book;
  CHECK_FALSE(book.last_move());
  book.greet(hello_of("one"), 1.0);
  CHECK(book.last_move() == 1.0);
  book.take(beat("one", "loading"), 2.0);
  CHECK(book.last_move() == 2.0);
  for (const double now : {3.0, 4.0, 5.0}) book.take(beat("one", "loading"), now);
  CHECK(book.last_move() == 2.0);
  CHECK(book.describe(5.0) == "one (process 7 on box): loading for 3 s");
  book.take(beat("one", "loading", 1), 6.0);
  CHECK(book.last_move() == 6.0);
  book.ask_for_work("one", 7.0);
  CHECK(book.last_move() == 7.0);
  Heartbeat heartbeat = beat("one", "loading", 1);
  heartbeat.ticket_id = 9;
  book.take(heartbeat, 8.0);
  CHECK(book.last_move() == 8.0);
  heartbeat.version = 2;
  book.take(heartbeat, 9.0);
  CHECK(book.last_move() == 9.0);
}

TEST_CASE("only those that are here count as moving, and are described") {
  ActorBook book;
  book.greet(hello_of("one"), 0.0);
  book.greet(hello_of("two"), 1.0);
  book.ask_for_work("one", 5.0);
  CHECK(book.last_move() == 5.0);
  book.leave("one", "not heard of");
  CHECK(book.last_move() == 1.0);
  CHECK(book.describe(1.0) == "two (process 7 on box): said nothing for 0 s");
  book.leave("two", "not heard of");
  CHECK_FALSE(book.last_move());
  CHECK(book.describe(1.0).empty());
}

TEST_CASE("a flood of ids that never worked does not fill the book, and those who did stay in it") {
  ActorBook book;
  const auto greet = [&](const std::string& id) { book.greet({kProtocolVersion, id, "host", 1, ""}, 0); };
  for (const std::string id : {"worked", "here"}) greet(id);
  book.note_work("worked");
  book.leave("worked", "said goodbye");
  for (int i = 0; i < 200'000; ++i) {
    greet(std::to_string(i));
    book.leave(std::to_string(i), "said goodbye");
  }
  CHECK(book.all().size() <= 65536);
  CHECK(book.all().contains("worked"));
  CHECK(book.all().contains("here"));
}
