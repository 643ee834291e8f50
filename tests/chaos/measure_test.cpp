#include "tests/chaos/measure.h"

#include "common/json_file.h"
#include "tests/common/temporary_folder.h"
#include "tests/testing.h"

using namespace nabla;
using namespace nabla::chaos;

TEST_CASE("a measurement goes on where it was, and says how much of it is done") {
  const TemporaryFolder folder;
  MeasureOptions options;
  options.program = NABLA_CHAOS;
  options.disk_shim = NABLA_DISK_SHIM;
  options.clock_shim = NABLA_CLOCK_SHIM;
  options.folder = folder.file("runs");
  options.out = folder.file("results.json");
  options.effort = Effort::kSmall;
  options.only = "twins";
  CHECK(measure(options));
  const auto first = read_json(options.out);
  CHECK(first.at("cases").at("twins").at("runs") == 1);
  CHECK(first.at("cases").at("twins").at("happened").at("turned_out") >= 1);
  CHECK(first.at("cases").at("twins").at("date").get<std::string>().size() == 10);
  CHECK(first.at("done").get<std::string>().starts_with("1 of "));
  CHECK(first.at("figures").at("B10").at("passed") == 1);
  CHECK(first.at("figures").at("A4").at("runs") == 0);
  CHECK(measure(options));
  CHECK(read_json(options.out) == first);
}
