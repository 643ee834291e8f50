#include "common/json_file.h"
#include "common/files.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"

namespace nabla {

TEST_CASE("JSON keeps the order of its keys through a file") {
  TemporaryFolder folder;
  const nlohmann::ordered_json json{{"z", 1}, {"a", {{"b", nullptr}}}};
  write_json(folder.file("a.json"), json);
  CHECK(read_json(folder.file("a.json")).dump() == json.dump());
}

TEST_CASE("a key that stands twice is refused at any depth") {
  check_error(
      ExitCode::kData, [] { parse_json(R"({"a": 1, "a": 2})", "x.json"); }, "x.json", "'a'", "twice");
  check_error(
      ExitCode::kData, [] { parse_json(R"([{"b": {"c": 1, "d": {}, "c": 2}}])", "x.json"); }, "'c'");
  CHECK(parse_json(R"([{"a": 1}, {"a": {"a": 2}}])", "x.json").size() == 2);
}

TEST_CASE("broken JSON names the source and the place") {
  check_error(
      ExitCode::kData, [] { parse_json("{\"a\": ", "cut.json"); }, "cut.json", "column");
  check_error(
      ExitCode::kData, [] { parse_json("{} trailing", "two.json"); }, "two.json");
  check_error(
      ExitCode::kData, [] { parse_json("{\"a\": \"\xFF\"}", "bytes.json"); }, "bytes.json");
  check_error(
      ExitCode::kData, [] { read_json("/nonexistent.json"); }, "/nonexistent.json");
}

}  // namespace nabla
