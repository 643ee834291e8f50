#include "common/nearest.h"
#include "tests/testing.h"

namespace nabla {

TEST_CASE("the edit distance counts insertions, deletions, replacements and swaps") {
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("abc", "abc") == 0);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("reward_scale", "rewrad_scale") == 1);
}

TEST_CASE("the nearest candidate is the one a person meant") {
  CHECK(nearest("trainig.lr", {"training.lr", "training.flow_lr", "seed"}) == "training.lr");
  CHECK(nearest("x", {}).empty());
  CHECK(comma_list({"a", "b"}) == "a, b");
  CHECK(comma_list({"a", "b"}, 2) == "a, b");
  CHECK(comma_list({"a", "b", "c", "d"}, 2) == "a, b and 2 more");
}

}  // namespace nabla
