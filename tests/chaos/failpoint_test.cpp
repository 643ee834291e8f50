#include "common/failpoint.h"

#include "common/error.h"
#include "common/files.h"
#include "learner/checkpoint/checkpoint_folder.h"
#include "tests/chaos/seeded_bugs.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/testing.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace nabla;

namespace {

// What `body` does in a process of its own: its exit code, or 128 + the signal that ended it.
int end_of(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);  // the test program's handler would report a failed test
    try {
      body();
    } catch (const Error&) {
      ::_exit(42);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int end_after(const std::string& text, int times) {
  return end_of([&] {
    arm_failpoints(text, FailpointHost::kChaos);
    for (int i = 0; i < times; ++i) failpoint("learner.before_ack");
  });
}

const std::vector<std::string> kProduct{"common", "protocol", "learner", "actors", "launch"};

// Names in calls of `function` in the sources of these folders.
std::set<std::string> names_called(const std::string& function, const std::vector<std::string>& folders) {
  std::set<std::string> names;
  const std::regex call(function + "\\(\"([^\"]+)\"\\)");
  for (const std::string& folder : folders) {
    for (const auto& file : std::filesystem::recursive_directory_iterator(std::string(NABLA_SOURCE_DIR) + "/" + folder)) {
      const std::string name = file.path().filename().string();
      if (file.path().extension() != ".cpp" || name.ends_with("_test.cpp") || name == "failpoint.cpp") continue;
      std::ifstream stream(file.path());
      const std::string text{std::istreambuf_iterator<char>(stream), {}};
      for (std::sregex_iterator it(text.begin(), text.end(), call), end; it != end; ++it) names.insert((*it)[1]);
    }
  }
  return names;
}

std::set<std::string> as_set(const std::vector<std::string_view>& names) { return {names.begin(), names.end()}; }

}  // namespace

TEST_CASE("an armed failpoint acts when it is reached for the nth time, and once") {
  CHECK(end_after("", 3) == 0);
  CHECK(end_after("learner.before_ack", 1) == 128 + SIGKILL);
  CHECK(end_after("learner.before_ack:3", 2) == 0);
  CHECK(end_after("learner.before_ack:3", 3) == 128 + SIGKILL);
  CHECK(end_after("learner.before_ack:2:exit", 2) == 1);
  CHECK(end_after("learner.before_ack:abort", 1) == 128 + SIGABRT);
  CHECK(end_after("learner.before_ack:2:error", 2) == 42);
  CHECK(end_after("learner.before_ack:delay:1", 5) == 0);
  CHECK(end_after("learner.mid_train,learner.before_ack:exit", 1) == 1);
}

TEST_CASE("a seeded bug is there where it was asked for") {
  CHECK_FALSE(seeded_bug("record.skip_crc"));
  CHECK(end_of([] {
          arm_failpoints("bug:record.skip_crc", FailpointHost::kChaos);
          ::_exit(seeded_bug("record.skip_crc") && !seeded_bug("queue.drop_record") ? 7 : 8);
        }) == 7);
}

TEST_CASE("a failpoint, a bug or an action that there is not is refused with those that there are") {
  const auto refused = [](const std::string& text, const std::string& part) {
    check_error(
        ExitCode::kUsage, [&] { arm_failpoints(text, FailpointHost::kChaos); }, part);
  };
  refused("learner.before_akc", "did you mean 'learner.before_ack'");
  refused("bug:skip_crc", "record.skip_crc");
  refused("learner.before_ack:explode", "kill | exit");
  refused("learner.before_ack:0", "counted from 1");
  refused("learner.before_ack:delay:soon", "milliseconds");
}

TEST_CASE("a writer that is killed anywhere leaves the checkpoint before it, or the new one, whole") {
  struct Place {
    std::string name;
    std::int64_t newest;
  };
  for (const auto& [name, newest] :
       {Place{"checkpoint.mid_write", 3}, {"checkpoint.mid_write:2", 3}, {"checkpoint.before_commit", 3}, {"checkpoint.after_commit", 6}}) {
    INFO(name);
    const TemporaryFolder folder;
    const auto write = [&](std::int64_t update) {
      const FileMaker make = [](const std::string& path) { write_file(path, "content"); };
      write_checkpoint_folder(folder.path(), update, {{"a", make}, {"b", make}});
    };
    write(3);
    REQUIRE(end_of([&, place = name] {
              arm_failpoints(place, FailpointHost::kChaos);
              write(6);
            }) == 128 + SIGKILL);
    REQUIRE(find_checkpoints(folder.path()).back().next_update == newest);
    for (const auto& place : find_checkpoints(folder.path())) verify_checkpoint_folder(place.path);
    write(6);
    remove_old_checkpoints(folder.path(), {.newest = 1, .multiples = 0}, -1);
    verify_checkpoint_folder(folder.file("update-000006"));
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  }
}

TEST_CASE("a text of which one part is nonsense arms nothing") {
  const int end = end_of([] {
    for (const char* text : {"learner.before_ack,nonsense", "bug:record.skip_crc,learner.before_ack:explode"}) {
      try {
        arm_failpoints(text, FailpointHost::kChaos);
        ::_exit(1);
      } catch (const Error&) {
      }
    }
    failpoint("learner.before_ack");
    ::_exit(seeded_bug("record.skip_crc") ? 2 : 7);
  });
  CHECK(end == 7);
}

TEST_CASE("nabla refuses the places and bugs that only the chaos programs' fakes have") {
  const auto check_all = [](const std::string& prefix, const std::set<std::string>& ours, const std::set<std::string>& all) {
    CHECK(std::includes(all.begin(), all.end(), ours.begin(), ours.end()));
    for (const auto& name : all) {
      CHECK(end_of([&] { arm_failpoints(prefix + name, FailpointHost::kChaos); }) == 0);
      CHECK(end_of([&] { arm_failpoints(prefix + name, FailpointHost::kNabla); }) == (ours.contains(name) ? 0 : 42));
    }
  };
  check_all("", as_set(failpoint_names(FailpointHost::kNabla)), as_set(failpoint_names(FailpointHost::kChaos)));
  check_all("bug:", as_set(seeded_bug_names(FailpointHost::kNabla)), as_set(seeded_bug_names(FailpointHost::kChaos)));
  CHECK(seeded_bug_names(FailpointHost::kNabla).size() < seeded_bug_names(FailpointHost::kChaos).size());
}

TEST_CASE("the tables of failpoints and seeded bugs name the calls that there are, and no others, for nabla and for the chaos programs") {
  std::vector<std::string> everywhere = kProduct;
  everywhere.emplace_back("tests/chaos");
  for (const auto& [host, folders] : {std::pair(FailpointHost::kNabla, kProduct), std::pair(FailpointHost::kChaos, everywhere)}) {
    std::set<std::string> places = names_called("failpoint", folders);
    places.merge(names_called("failpoint_armed", folders));
    CHECK(places == as_set(failpoint_names(host)));
    CHECK(names_called("seeded_bug", folders) == as_set(seeded_bug_names(host)));
  }
}

TEST_CASE("the chaos programs are built with every source of the fleet that has failpoints") {
  std::ifstream list(std::string(NABLA_SOURCE_DIR) + "/tests/chaos/CMakeLists.txt");
  const std::string listed{std::istreambuf_iterator<char>(list), {}};
  for (const char* folder : {"protocol", "learner"}) {
    for (const auto& file : std::filesystem::recursive_directory_iterator(std::string(NABLA_SOURCE_DIR) + "/" + folder)) {
      const std::string name = std::filesystem::relative(file.path(), NABLA_SOURCE_DIR).string();
      // Needs torch, and so the learner that no chaos program has.
      if (file.path().extension() != ".cpp" || name == "learner/update_step.cpp") continue;
      std::ifstream stream(file.path());
      const std::string text{std::istreambuf_iterator<char>(stream), {}};
      const bool has_any = text.find("failpoint(\"") != std::string::npos || text.find("seeded_bug(\"") != std::string::npos;
      if (has_any) CHECK_MESSAGE(listed.find(name) != std::string::npos, name);
    }
  }
}

TEST_CASE("every seeded bug has a scenario that must find it") {
  std::set<std::string> names;
  for (const auto& bug : chaos::seeded_bugs()) names.insert(bug.name);
  CHECK(names == as_set(seeded_bug_names(FailpointHost::kChaos)));
}
