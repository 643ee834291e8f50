#include "tests/structure/source_list_rules.h"
#include "tests/testing.h"

using namespace nabla;

TEST_CASE("every source of the project is named in a CMakeLists.txt") {
  const std::vector<std::string> unlisted = unlisted_sources(read_project());
  CHECK_MESSAGE(unlisted.empty(), joined(unlisted));
}

TEST_CASE("a source that no list names is found") {
  const SourceFile list{"common/CMakeLists.txt", "add_library(common STATIC\n  error.cpp config/fields.cpp)\n"};
  const std::vector<SourceFile> files{list, {"common/error.cpp", ""}, {"common/config/fields.cpp", ""}, {"common/terror.cpp", ""}};
  CHECK(unlisted_sources(files) == std::vector<std::string>{"common/terror.cpp"});
}

TEST_CASE("every Debian package has its reason in docs/dependencies.md") {
  const std::vector<std::string> unexplained = unexplained_packages(read_project());
  CHECK_MESSAGE(unexplained.empty(), joined(unexplained));
}

TEST_CASE("a package without a reason is found") {
  const std::vector<SourceFile> files{{"launch/packages.txt", "# list\ncmake\nlibfoo-dev\n"}, {"docs/dependencies.md", "| `cmake` |"}};
  CHECK(unexplained_packages(files) == std::vector<std::string>{"libfoo-dev"});
}

TEST_CASE("every wheel is pinned and hashed") {
  const std::vector<std::string> loose = loose_requirements(read_project());
  CHECK_MESSAGE(loose.empty(), joined(loose));
}

TEST_CASE("a wheel without a pin or a hash is found") {
  const std::vector<SourceFile> files{
      {"launch/requirements.txt", "# wheels\na==1 \\\n    --hash=sha256:00\nb==2\nc>=3 \\\n    --hash=sha256:00\nd==4\n"}};
  CHECK(loose_requirements(files) == std::vector<std::string>{"b==2", "c>=3 \\", "d==4"});
}
