#include "protocol/keys.h"
#include "tests/common/temporary_folder.h"
#include "tests/launch/captured_run.h"
#include "tests/testing.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>

using namespace nabla;

namespace {

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

CapturedRun keys(const std::vector<std::string>& words) {
  std::vector<std::string> arguments{"keys"};
  arguments.insert(arguments.end(), words.begin(), words.end());
  return run_nabla(arguments);
}

}  // namespace

TEST_CASE("keys are made, listed and revoked from the command line") {
  const TemporaryFolder folder;
  const std::string dir = folder.file("keys");
  const CapturedRun server = keys({"new", "--dir", dir, "server"});
  CHECK(server.code == 0);
  CHECK(holds(server.out, "security.keys=" + dir));
  const CapturedRun actor = keys({"new", "--dir", dir, "actor", "gpu-1"});
  CHECK(actor.code == 0);
  CHECK(holds(actor.out, dir + "/actors/gpu-1.key"));
  CHECK(holds(actor.out, "--key gpu-1.key"));
  const CapturedRun list = keys({"list", "--dir", dir});
  CHECK(list.code == 0);
  for (const char* part : {"gpu-1", "local", "server", "allowed"}) CHECK_MESSAGE(holds(list.out, part), part);
  CHECK(keys({"revoke", "--dir", dir, "gpu-1"}).code == 0);
  CHECK(holds(keys({"list", "--dir", dir}).out, "revoked"));
  CHECK_FALSE(std::filesystem::exists(dir + "/actors/gpu-1.pub"));
}

TEST_CASE("no output shows a secret") {
  const TemporaryFolder folder;
  const std::string dir = folder.file("keys");
  std::string shown = keys({"new", "--dir", dir, "server"}).out;
  shown += keys({"new", "--dir", dir, "actor", "a"}).out;
  shown += keys({"list", "--dir", dir}).out;
  shown += keys({"list", "--dir", dir, "--json"}).out;
  CHECK_FALSE(holds(shown, read_server_keys(dir).pair.secret_key));
  CHECK_FALSE(holds(shown, read_actor_keys(dir + "/actors/a.key").pair.secret_key));
  CHECK(holds(shown, fingerprint_of(read_actor_keys(dir + "/actors/a.key").pair.public_key)));
}

TEST_CASE("the list is JSON on request") {
  const TemporaryFolder folder;
  const std::string dir = folder.file("keys");
  keys({"new", "--dir", dir, "server"});
  const auto json = nlohmann::json::parse(keys({"list", "--dir", dir, "--json"}).out);
  REQUIRE(json.size() == 2);
  CHECK(json[0].at("role") == "server");
  CHECK(json[1].at("name") == "local");
  CHECK(json[1].at("secret_here") == true);
}

TEST_CASE("mistakes with keys are usage errors that say what to do") {
  const TemporaryFolder folder;
  const std::string dir = folder.file("keys");
  CHECK(holds(keys({"new", "--dir", dir, "actor", "a"}).err, "nabla keys new --dir " + dir + " server"));
  CHECK(keys({"new", "--dir", dir, "actor", "a"}).code == 2);
  CHECK(keys({"list", "--dir", dir}).code == 3);
  keys({"new", "--dir", dir, "server"});
  CHECK(keys({"new", "--dir", dir, "server"}).code == 2);
  CHECK(keys({"new", "--dir", dir, "actor", "../x"}).code == 2);
  CHECK(holds(keys({"revoke", "--dir", dir, "nobody"}).err, "local"));
  CHECK(keys({"new"}).code == 2);
  CHECK(keys({"new", "--dir", dir, "actor"}).code == 2);
}

TEST_CASE("an actor's key file is looked at before anything else") {
  const TemporaryFolder folder;
  const CapturedRun run = run_nabla({"actor", "--connect", "tcp://127.0.0.1:1", "--key", folder.file("none.key")});
  CHECK(run.code == 3);
  CHECK(holds(run.err, "none.key"));
}
