#include "protocol/endpoints.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"

#include <sys/stat.h>

#include <fstream>
#include <thread>

namespace nabla {

TEST_CASE("endpoints are read back from the run folder") {
  const TemporaryFolder folder;
  write_endpoints(folder.path(), {"run-1", "ipc:///tmp/c", "ipc:///tmp/w", 4711});
  const Endpoints endpoints = resolve_endpoints(folder.path(), std::chrono::seconds(1));
  CHECK(endpoints.run_id == "run-1");
  CHECK(endpoints.control == "ipc:///tmp/c");
  CHECK(endpoints.weights == "ipc:///tmp/w");
  CHECK(endpoints.pid == 4711);
}

TEST_CASE("a run folder is waited for until its learner writes the file") {
  const TemporaryFolder folder;
  std::thread learner([&] { write_endpoints(folder.path(), {"late", "tcp://127.0.0.1:1", "tcp://127.0.0.1:2", 1}); });
  CHECK(resolve_endpoints(folder.path(), std::chrono::seconds(10)).run_id == "late");
  learner.join();
}

TEST_CASE("a run folder without a learner is named after the deadline") {
  const TemporaryFolder folder;
  check_error(
      ExitCode::kNetwork, [&] { resolve_endpoints(folder.path(), std::chrono::seconds(0)); }, folder.path(), "endpoints.json",
      "learner running");
}

TEST_CASE("waiting for a run folder ends when a stop is requested") {
  const TemporaryFolder folder;
  std::stop_source stop;
  stop.request_stop();
  check_error(
      ExitCode::kFailure, [&] { resolve_endpoints(folder.path(), std::chrono::seconds(10), stop.get_token()); }, "stopped", folder.path());
}

TEST_CASE("an address is taken as it is, and other schemes are refused") {
  CHECK(resolve_endpoints("tcp://host:5555", std::chrono::seconds(0)).control == "tcp://host:5555");
  CHECK(resolve_endpoints("ipc:///run/x", std::chrono::seconds(0)).control == "ipc:///run/x");
  check_error(
      ExitCode::kUsage, [] { resolve_endpoints("http://host:5555", std::chrono::seconds(0)); }, "http://host:5555", "tcp://HOST:PORT");
}

TEST_CASE("the address of now is that of the file, or none while there is no learner") {
  const TemporaryFolder folder;
  CHECK(control_endpoint_now(folder.path()).empty());
  write_endpoints(folder.path(), {"run-1", "tcp://127.0.0.1:1", "tcp://127.0.0.1:2", 1, "keys/actors/local.key"});
  CHECK(control_endpoint_now(folder.path()) == "tcp://127.0.0.1:1");
  CHECK(resolve_endpoints(folder.path(), std::chrono::seconds(1)).key_file == "keys/actors/local.key");
  write_endpoints(folder.path(), {"run-1", "tcp://127.0.0.1:3", "tcp://127.0.0.1:4", 1});
  CHECK(control_endpoint_now(folder.path()) == "tcp://127.0.0.1:3");
  CHECK(control_endpoint_now("tcp://host:5555") == "tcp://host:5555");
}

TEST_CASE("a damaged address file is named") {
  const TemporaryFolder folder;
  std::ofstream(folder.file("endpoints.json")) << "{\"run_id\": \"r\", \"control\": 5}";
  check_error(
      ExitCode::kData, [&] { resolve_endpoints(folder.path(), std::chrono::seconds(0)); }, "endpoints.json");
}

TEST_CASE("the socket folder is private, short and never shared") {
  const std::string first = make_ipc_folder("20260131-142500-1a2b3c4d");
  const std::string second = make_ipc_folder("20260131-142500-1a2b3c4d");
  CHECK(first != second);
  for (const auto& folder : {first, second}) {
    CHECK(folder.find("/nabla-") != std::string::npos);
    CHECK(folder.size() < 90);
    struct stat status {};
    REQUIRE(::stat(folder.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0700);
    std::filesystem::remove(folder);
  }
}

}  // namespace nabla
