#include "common/diffusion/hub_cache.h"

#include "common/files.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"

#include <cstdlib>
#include <filesystem>
#include <optional>

using namespace nabla;

namespace fs = std::filesystem;

namespace {

// An environment variable of this process while the object lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    setenv(name, value.c_str(), 1);
  }
  ~Variable() { before_ ? setenv(name_, before_->c_str(), 1) : unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

// A hub cache with one model of two snapshots.
class Cache {
 public:
  Cache() {
    for (const char* revision : {"aaa", "bbb"}) fs::create_directories(model() + "/snapshots/" + revision);
    fs::create_directories(model() + "/refs");
    write_file(model() + "/refs/main", "bbb");
  }
  std::string hub() const { return folder_.file("hub"); }
  std::string model() const { return hub() + "/models--some-body--some_model-v1.5"; }
  const std::string& home() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

constexpr const char* kName = "some-body/some_model-v1.5";

}  // namespace

TEST_CASE("a name is sought in the hub cache, where refs/main names the snapshot") {
  const Cache cache;
  const Variable own("HF_HUB_CACHE", ""), home("HF_HOME", cache.home());
  CHECK(resolve_model_path(kName) == cache.model() + "/snapshots/bbb");
  CHECK(resolve_model_path(cache.model()) == cache.model() + "/snapshots/bbb");
  CHECK(resolve_model_path(cache.model() + "/snapshots/aaa") == cache.model() + "/snapshots/aaa");
}

TEST_CASE("HF_HUB_CACHE goes before HF_HOME, and that before the folder in the user's home") {
  const Cache cache, other;
  {
    const Variable own("HF_HUB_CACHE", other.hub()), home("HF_HOME", cache.home());
    CHECK(resolve_model_path(kName) == other.model() + "/snapshots/bbb");
  }
  const TemporaryFolder user;
  fs::create_directories(user.file(".cache/huggingface"));
  fs::create_directory_symlink(cache.hub(), user.file(".cache/huggingface/hub"));
  const Variable own("HF_HUB_CACHE", ""), home("HF_HOME", ""), user_home("HOME", user.path());
  CHECK(fs::equivalent(resolve_model_path(kName), cache.model() + "/snapshots/bbb"));
}

TEST_CASE("what is no name in the cache stays as it is") {
  const Cache cache;
  const Variable own("HF_HUB_CACHE", cache.hub());
  for (const char* model : {"some-body/other", "/no/such/folder", "some-body", "a/b/c", "./a/b", "some body/x", "org/"})
    CHECK(resolve_model_path(model) == model);
  CHECK(hub_folder("/no/such").empty());
  CHECK(hub_folder("../x").empty());
  CHECK(hub_folder("org/name") == cache.hub() + "/models--org--name");
}

TEST_CASE("a folder of that name goes before the cache") {
  const Cache cache;
  const Variable own("HF_HUB_CACHE", cache.hub());
  const TemporaryFolder here;
  const fs::path before = fs::current_path();
  fs::current_path(here.path());
  fs::create_directories(here.file(kName));
  const std::string found = resolve_model_path(kName);
  fs::current_path(before);
  CHECK(found == kName);
}

TEST_CASE("without refs/main the one snapshot is taken, and several are refused") {
  const Cache cache;
  fs::remove(cache.model() + "/refs/main");
  check_error(
      ExitCode::kData, [&] { resolve_model_path(cache.model()); }, cache.model(), "2 snapshots");
  fs::remove(cache.model() + "/snapshots/aaa");
  CHECK(resolve_model_path(cache.model()) == cache.model() + "/snapshots/bbb");
}

TEST_CASE("a reference to a snapshot that is not there is refused") {
  const Cache cache;
  for (const char* revision : {"ccc", "../../refs", ""}) {
    write_file(cache.model() + "/refs/main", revision);
    check_error(
        ExitCode::kData, [&] { resolve_model_path(cache.model()); }, cache.model(), "refs/main");
  }
}
