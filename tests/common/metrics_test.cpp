#include "common/metrics.h"
#include "common/files.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"

#include <nlohmann/json.hpp>

#include <limits>
#include <sstream>
#include <thread>
#include <vector>

namespace nabla {

TEST_CASE("metrics are one JSON object a line, appended over restarts") {
  TemporaryFolder folder;
  MetricsWriter(folder.file("metrics.jsonl")).write({{"update", 1}, {"loss", 0.5}});
  MetricsWriter(folder.file("metrics.jsonl")).write({{"update", 2}, {"loss", std::numeric_limits<double>::quiet_NaN()}});
  CHECK(read_file(folder.file("metrics.jsonl"), 1000) == "{\"update\":1,\"loss\":0.5}\n{\"update\":2,\"loss\":null}\n");
}

TEST_CASE("lines of several threads do not mix") {
  TemporaryFolder folder;
  MetricsWriter writer(folder.file("metrics.jsonl"));
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&writer, t] {
        for (int i = 0; i < 50; ++i) writer.write({{"thread", t}, {"text", std::string(200, 'x')}});
      });
    }
  }
  std::istringstream lines(read_file(folder.file("metrics.jsonl"), 1'000'000));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) CHECK(nlohmann::json::accept(line));
  CHECK(count == 200);
}

TEST_CASE("a metrics file that cannot be written is named") {
  check_error(
      ExitCode::kFailure, [] { MetricsWriter("/nonexistent/metrics.jsonl"); }, "/nonexistent/metrics.jsonl");
  check_error(
      ExitCode::kFailure,
      [] {
        MetricsWriter("/dev/full").write({{"update", 1}});
      },
      "/dev/full", "full");
}

TEST_CASE("counters add up over threads and stages are timed") {
  Counters counters;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&counters] {
        for (int i = 0; i < 100; ++i) counters.add("pictures", 1);
      });
    }
  }
  { StageTimer timer(counters, "sampling"); }
  CHECK(counters.value("pictures") == 400);
  CHECK(counters.value("never") == 0);
  CHECK(counters.all().size() == 2);
  CHECK(counters.value("sampling") >= 0);
}

}  // namespace nabla
