#include "common/log.h"
#include "common/files.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace nabla {

TEST_CASE("a run's log file holds what the quiet console leaves out") {
  TemporaryFolder folder;
  init_logging({.role = "actor", .number = 3, .run_folder = folder.path(), .quiet = true});
  log_info("ticket {} of update {}", 7, 2);
  log_debug("not at this level");
  const std::string text = read_file(folder.file("logs/actor-3.log"), 10'000);
  init_logging({});
  CHECK(text.find("actor-3 info: ticket 7 of update 2\n") != std::string::npos);
  CHECK(text.find("not at this level") == std::string::npos);
}

TEST_CASE("JSON logs are one object a line, whatever the message holds") {
  TemporaryFolder folder;
  init_logging({.role = "learner", .run_folder = folder.path(), .quiet = true, .json = true});
  log_info("quote \" and\nline \xFF");
  const std::string text = read_file(folder.file("logs/learner-0.log"), 10'000);
  init_logging({});
  CHECK(std::count(text.begin(), text.end(), '\n') == 1);
  const auto object = nlohmann::json::parse(text);
  CHECK(object["level"] == "info");
  CHECK(object["role"] == "learner-0");
  CHECK(object["message"].get<std::string>().starts_with("quote \" and\nline "));
}

TEST_CASE("a log file that cannot be opened is named") {
  TemporaryFolder folder;
  write_file(folder.file("plain"), "not a folder");
  check_error(
      ExitCode::kFailure, [&] { init_logging({.role = "actor", .run_folder = folder.file("plain")}); }, "plain/logs/actor-0.log");
}

}  // namespace nabla
