#include "tests/testing.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

namespace {

// The product's files that read the wall clock, for dates that people read and times that files bear; whatever is waited for is measured by the monotonic one.
const std::set<std::string> kDated{
    "common/diffusion/lora_file.cpp", "common/files.cpp",  "launch/commands/keys.cpp",    "launch/pretrain/training_note.cpp",
    "protocol/allow_list.cpp",        "protocol/keys.cpp", "protocol/segment_writer.cpp",
};

}  // namespace

TEST_CASE("the wall clock is read by the files that write dates, and by no others") {
  const std::regex wall_clock("system_clock|std::time\\(|gettimeofday|CLOCK_REALTIME|high_resolution_clock");
  const std::filesystem::path root = NABLA_SOURCE_DIR;
  std::set<std::string> found;
  for (const char* folder : {"common", "protocol", "learner", "actors", "launch"}) {
    for (const auto& file : std::filesystem::recursive_directory_iterator(root / folder)) {
      if (file.path().extension() != ".cpp" && file.path().extension() != ".h") continue;
      std::ifstream stream(file.path());
      const std::string text{std::istreambuf_iterator<char>(stream), {}};
      if (std::regex_search(text, wall_clock)) found.insert(std::filesystem::relative(file.path(), root).string());
    }
  }
  CHECK(found == kDated);
}
