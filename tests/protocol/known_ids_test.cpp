#include "protocol/known_ids.h"

#include "tests/testing.h"

#include <set>

namespace nabla {

namespace {

struct Ids {
  KnownIds known;
  std::set<std::string> here;
  KnownIds::Answer take_in(const std::string& id, const std::string& key = "") {
    return known.take_in(id, key, [this](const std::string& name) { return here.contains(name); });
  }
};

}  // namespace

TEST_CASE("an honest actor gets in after a flood of ids that never did anything") {
  Ids ids{KnownIds(100, 50), {}};
  for (int i = 0; i < 10'000; ++i) CHECK(ids.take_in(std::to_string(i), i % 2 == 0 ? "" : "key").refusal.empty());
  CHECK(ids.take_in("honest", "other key").refusal.empty());
}

TEST_CASE("ids that are connected or have worked are not forgotten") {
  Ids ids{KnownIds(3), {}};
  for (const std::string id : {"here", "worked", "idle"}) ids.take_in(id);
  ids.here = {"here"};
  ids.known.note_work("worked");
  CHECK(ids.take_in("new").forgotten == std::vector<std::string>{"idle"});
  ids.here.insert("new");
  const auto answer = ids.take_in("one too many");
  CHECK(answer.refusal.find("3 actors have worked") != std::string::npos);
  CHECK(answer.forgotten.empty());
  CHECK(ids.take_in("here").refusal.empty());
}

TEST_CASE("one key cannot have more idle ids than its share, and other keys do not notice") {
  Ids ids{KnownIds(100, 3), {}};
  for (const std::string id : {"a", "b", "c"}) ids.take_in(id, "bad");
  CHECK(ids.take_in("d", "bad").forgotten == std::vector<std::string>{"a", "b", "c"});
  ids.here = {"d", "e", "f"};
  for (const std::string id : {"e", "f"}) CHECK(ids.take_in(id, "bad").refusal.empty());
  CHECK(ids.take_in("g", "bad").refusal.find("3 actors with this key") != std::string::npos);
  CHECK(ids.take_in("g", "good").refusal.empty());
  ids.known.note_work("e");
  CHECK(ids.take_in("h", "bad").refusal.empty());
}

}  // namespace nabla
