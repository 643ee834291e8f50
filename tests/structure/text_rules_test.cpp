#include "tests/structure/text_rules.h"
#include "tests/testing.h"

#include <algorithm>

using namespace nabla;

namespace {

std::vector<std::string> faults_of_project(std::vector<std::string> (*rule)(const SourceFile&)) {
  std::vector<std::string> faults;
  for (const SourceFile& file : read_project())
    for (const std::string& fault : rule(file)) faults.push_back(fault);
  return faults;
}

}  // namespace

TEST_CASE("the project reads itself") {
  const std::vector<SourceFile> files = read_project();
  CHECK(files.size() > 50);
  for (const std::string path : {"CMakeLists.txt", ".ci/run", "launch/setup.sh", "tests/structure/text_rules_test.cpp"})
    CHECK_MESSAGE(std::any_of(files.begin(), files.end(), [&path](const SourceFile& file) { return file.path == path; }), path);
}

TEST_CASE("no text holds unfinished work, paths of one machine or hosts of registries") {
  const std::vector<std::string> faults = faults_of_project(unwanted_text);
  CHECK_MESSAGE(faults.empty(), joined(faults));
}

TEST_CASE("unwanted text is found with its line") {
  const std::string note = std::string("TO") + "DO";
  CHECK(unwanted_text({"docs/a.md", "fine\n" + note + ": later\n"}) == std::vector<std::string>{"docs/a.md:2: '" + note + "'"});
  CHECK(unwanted_text({"docs/a.md", std::string("cd /ho") + "me/somebody\n"}).size() == 1);
  CHECK(unwanted_text({"docs/a.md", std::string("https://py") + "pi.org/simple\n"}).size() == 1);
}

TEST_CASE("headers are guarded and sources fit their length") {
  const std::vector<std::string> faults = faults_of_project(shape_violations);
  CHECK_MESSAGE(faults.empty(), joined(faults));
}

TEST_CASE("an unguarded header and an overlong source are found") {
  CHECK(shape_violations({"common/a.h", "struct A {};\n"}).size() == 1);
  CHECK(shape_violations({"common/a.cpp", std::string(601, '\n')}).size() == 1);
  CHECK(shape_violations({"common/a.cpp", std::string(600, '\n')}).empty());
}
