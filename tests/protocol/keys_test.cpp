#include "protocol/keys.h"

#include "common/files.h"
#include "protocol/allow_list.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace nabla {

namespace {

mode_t mode_of(const std::string& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 0777;
}

KeyFile actor_file() {
  const KeyPair pair = make_key_pair();
  return {"actor", "gpu-1", pair.public_key, pair.secret_key, make_key_pair().public_key, 1764248050};
}

void check_bad(const std::string& text, const std::string& part) {
  check_error(
      ExitCode::kData, [&] { parse_key_text(text, "x.key"); }, "x.key", part);
}

std::string without_line(const std::string& text, const std::string& field) {
  const std::size_t start = text.find("\n" + field + " ") + 1;
  return text.substr(0, start) + text.substr(text.find('\n', start) + 1);
}

}  // namespace

TEST_CASE("a learner's folder holds its pair, an allow-list and the key of local actors") {
  const TemporaryFolder folder;
  const std::string keys = folder.file("keys");
  make_server_keys(keys);
  CHECK(mode_of(keys) == 0700);
  CHECK(mode_of(keys + "/server.key") == 0600);
  CHECK(mode_of(keys + "/actors/local.key") == 0600);
  const ServerKeys server = read_server_keys(keys);
  CHECK(server.pair.public_key == read_public_key(keys + "/server.pub"));
  CHECK(public_key_of(server.pair.secret_key) == server.pair.public_key);
  const ActorKeys local = read_actor_keys(keys + "/actors/local.key");
  CHECK(local.server_public_key == server.pair.public_key);
  CHECK(AllowList(server.allow_list).name_of(local.pair.public_key) == "local");
  CHECK_FALSE(AllowList(server.allow_list).name_of(server.pair.public_key));
}

TEST_CASE("keys are made once, and an actor's only beside a server's") {
  const TemporaryFolder folder;
  check_error(
      ExitCode::kUsage, [&] { make_actor_keys(folder.path(), "a"); }, "no server key", "nabla keys new");
  make_server_keys(folder.path());
  const std::string before = read_file(folder.file("server.key"), 4096);
  check_error(
      ExitCode::kUsage, [&] { make_server_keys(folder.path()); }, "server.key", "exists");
  CHECK(read_file(folder.file("server.key"), 4096) == before);
  make_actor_keys(folder.path(), "a");
  check_error(
      ExitCode::kUsage, [&] { make_actor_keys(folder.path(), "a"); }, "a.pub", "revoke");
}

TEST_CASE("an actor's name stays in its folder") {
  const TemporaryFolder folder;
  make_server_keys(folder.path());
  for (const std::string name : {"", "../x", "a/b", ".hidden", "two words", "tab\t", "\xC3\xA9"}) {
    check_error(
        ExitCode::kUsage, [&] { make_actor_keys(folder.path(), name); }, "cannot name an actor");
    check_error(
        ExitCode::kUsage, [&] { revoke_actor(folder.path(), name); }, "cannot name an actor");
  }
  check_error(
      ExitCode::kUsage, [&] { make_actor_keys(folder.path(), std::string(65, 'a')); }, "64");
}

TEST_CASE("a secret file that others can read is refused with the command that mends it") {
  const TemporaryFolder folder;
  make_server_keys(folder.path());
  const std::string server = folder.file("server.key"), actor = folder.file("actors/local.key");
  for (const mode_t mode : {0640, 0604, 0610, 0666}) {
    REQUIRE(::chmod(server.c_str(), mode) == 0);
    REQUIRE(::chmod(actor.c_str(), mode) == 0);
    check_error(
        ExitCode::kData, [&] { read_server_keys(folder.path()); }, fmt::format("mode 0{:o}", mode), "chmod 600 '" + server + "'");
    check_error(
        ExitCode::kData, [&] { read_actor_keys(actor); }, fmt::format("mode 0{:o}", mode), "chmod 600 '" + actor + "'");
  }
  REQUIRE(::chmod(server.c_str(), 0400) == 0);
  CHECK(read_server_keys(folder.path()).pair.secret_key.size() == 40);
}

TEST_CASE("a key file of the wrong kind is named") {
  const TemporaryFolder folder;
  make_server_keys(folder.path());
  check_error(
      ExitCode::kData, [&] { read_actor_keys(folder.file("server.key")); }, "server.key", "learner's machine");
  REQUIRE(::chmod(folder.file("actors/local.pub").c_str(), 0600) == 0);
  check_error(
      ExitCode::kData, [&] { read_actor_keys(folder.file("actors/local.pub")); }, "local.pub", "public file");
  check_error(
      ExitCode::kData, [&] { read_actor_keys(folder.file("none.key")); }, "none.key", "nabla keys new");
}

TEST_CASE("a key file is read as it was written, whatever its line ends") {
  const KeyFile file = actor_file();
  std::string text = key_text(file);
  const KeyFile read = parse_key_text(text, "x.key");
  CHECK(read.name == "gpu-1");
  CHECK(read.secret_key == file.secret_key);
  CHECK(read.server_key == file.server_key);
  CHECK(read.created == 1764248050);
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 2)) text.insert(at, 1, '\r');
  CHECK(parse_key_text(text, "x.key").public_key == file.public_key);
}

TEST_CASE("every fault of a key file is named, and its secret never shown") {
  const KeyFile good = actor_file();
  const std::string text = key_text(good);
  check_bad("", "nabla-key 1");
  for (const char* field : {"nabla-key", "created", "role", "name", "public", "server"}) check_bad(without_line(text, field), field);
  check_bad(text + "role actor\n", "twice");
  check_bad(text + "secret " + good.secret_key + "\n", "twice");
  check_bad(text + "created 3\n", "twice");
  check_bad(text + "nabla-key 1\n", "twice");
  check_bad(text + "colour red\n", "unknown field");
  check_bad(text + "colour\n", "no value");
  check_bad("nabla-key 2\n", "'2'");
  KeyFile bad = good;
  bad.role = "king";
  check_bad(key_text(bad), "role");
  bad = good;
  bad.name = "../x";
  check_bad(key_text(bad), "name");
  bad = good;
  bad.public_key = make_key_pair().public_key;
  check_bad(key_text(bad), "other half");
  bad = good;
  bad.server_key[3] = '~';  // no character of Z85
  check_bad(key_text(bad), "server");
  bad = good;
  bad.secret_key = bad.secret_key.substr(1);
  check_bad(key_text(bad), "other half");
  try {
    parse_key_text(text + "x" + good.secret_key + " y\n", "x.key");
    FAIL_CHECK("accepted");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find(good.secret_key) == std::string::npos);
  }
}

TEST_CASE("revoking moves the public key out of the allow-list and drops the secret") {
  const TemporaryFolder folder;
  make_server_keys(folder.path());
  for (int i = 0; i < 2; ++i) {
    make_actor_keys(folder.path(), "a");
    revoke_actor(folder.path(), "a");
  }
  CHECK_FALSE(std::filesystem::exists(folder.file("actors/a.pub")));
  CHECK_FALSE(std::filesystem::exists(folder.file("actors/a.key")));
  CHECK(std::filesystem::exists(folder.file("revoked/a.pub")));
  CHECK(std::filesystem::exists(folder.file("revoked/a.2.pub")));
  check_error(
      ExitCode::kUsage, [&] { revoke_actor(folder.path(), "a"); }, "'a'", "local");
}

TEST_CASE("the list names everybody and no secret") {
  const TemporaryFolder folder;
  check_error(
      ExitCode::kData, [&] { list_keys(folder.file("none")); }, "none", "nabla keys new");
  make_server_keys(folder.path());
  make_actor_keys(folder.path(), "a");
  make_actor_keys(folder.path(), "b");
  revoke_actor(folder.path(), "b");
  write_file(folder.file("actors/broken.pub"), "nonsense");
  std::vector<std::string> lines;
  for (const KeyEntry& entry : list_keys(folder.path())) {
    lines.push_back(
        fmt::format("{} {} {}{}", entry.role, entry.name, entry.allowed ? "allowed" : "revoked", entry.fault.empty() ? "" : " broken"));
    CHECK((entry.fingerprint.size() == 10) == entry.fault.empty());
  }
  CHECK(lines == std::vector<std::string>{"server server allowed", "actor a allowed", "actor broken allowed broken", "actor local allowed",
                                          "actor b revoked"});
}

TEST_CASE("a key file that is written over within the same tick of the clock is read again") {
  const TemporaryFolder folder;
  make_server_keys(folder.path());
  AllowList list(folder.file("actors"));
  KeyFile file{"actor", "a", "", "", "", 1764248050};
  std::fstream writer(folder.file("actors/a.pub"), std::ios::in | std::ios::out | std::ios::trunc);
  for (int i = 0; i < 50; ++i) {
    file.public_key = make_key_pair().public_key;
    writer.seekp(0);  // the same file, as long as before
    writer << key_text(file) << std::flush;
    list.refresh();
    CHECK(list.name_of(file.public_key) == "a");
    CHECK(list.size() == 2);
  }
}

TEST_CASE("an allow-list follows its folder, and a bad file keeps nobody else out") {
  const TemporaryFolder folder;
  make_server_keys(folder.path());
  AllowList list(folder.file("actors"));
  CHECK_FALSE(list.refresh());
  make_actor_keys(folder.path(), "a");
  const std::string key = read_public_key(folder.file("actors/a.pub"));
  CHECK_FALSE(list.name_of(key));
  CHECK(list.refresh());
  CHECK(list.name_of(key) == "a");
  write_file(folder.file("actors/broken.pub"), "nonsense");
  CHECK_FALSE(list.refresh());
  CHECK(list.size() == 2);
  revoke_actor(folder.path(), "a");
  CHECK(list.refresh());
  CHECK_FALSE(list.name_of(key));
  std::filesystem::remove_all(folder.file("actors"));
  CHECK(list.refresh());
  CHECK(list.size() == 0);
  check_error(
      ExitCode::kData, [&] { AllowList gone(folder.file("actors")); }, "actors", "nabla keys new");
}

}  // namespace nabla
