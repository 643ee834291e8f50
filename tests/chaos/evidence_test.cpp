#include "tests/chaos/evidence.h"

#include "tests/common/temporary_folder.h"
#include "tests/testing.h"

#include <filesystem>
#include <fstream>

using namespace nabla;
using namespace nabla::chaos;

TEST_CASE("what happened too seldom is named with both numbers, a name that nobody counts too") {
  CHECK(lacking({}, {}).empty());
  CHECK(lacking({{"kills", 2}}, {{"kills", 2}, {"stops", 0}}).empty());
  CHECK(lacking({{"kills", 3}, {"stops", 1}}, {{"kills", 2}, {"stops", 4}}) == "kills: 2 of 3");
  CHECK(lacking({{"klils", 1}}, {{"kills", 9}}) == "klils: 0 of 1");
}

TEST_CASE("evidence counts each whole line of a run's files once") {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder.file("acks"));
  Evidence evidence(folder.path());
  CHECK(lacking({{"acked", 1}}, evidence.look()) == "acked: 0 of 1");
  std::ofstream acks(folder.file("acks/0-0")), learner(folder.file("learner.txt"));
  acks << "1 1 first a\n2 2 duplicate a\n3 3 dupl" << std::flush;
  learner << "warning: refused a record of a: bad_digest\nactor b is gone: not heard of for 300 ms\n" << std::flush;
  for (int i = 0; i < 2; ++i) {
    const Counts counts = evidence.look();
    CHECK(counts.at("acked") == 2);
    CHECK(counts.at("duplicates") == 1);
    CHECK(counts.at("refused") == 1);
    CHECK(counts.at("silent_ends") == 1);
  }
  acks << "icate a\n" << std::flush;
  CHECK(evidence.look().at("duplicates") == 2);
}
