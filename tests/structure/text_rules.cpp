#include "tests/structure/text_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <utility>

namespace nabla {
namespace {

// Each in two pieces, so that this file passes its own rule.
const std::vector<std::pair<std::string, std::string>> kUnwanted{
    {"TO", "DO"},       {"FIX", "ME"},    {"/wo", "rk/"},           {"/ro", "ot/"},         {"/ho", "me/"},           {"/opt/", "oracle"},
    {"/tmp/", "fleet"}, {"py", "pi.org"}, {"python", "hosted.org"}, {"deb.", "debian.org"}, {"download.", "pytorch"},
};

}  // namespace

std::vector<std::string> unwanted_text(const SourceFile& file) {
  std::vector<std::string> faults;
  std::istringstream lines(file.text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number)
    for (const auto& [head, tail] : kUnwanted)
      if (line.find(head + tail) != std::string::npos) faults.push_back(fmt::format("{}:{}: '{}{}'", file.path, number, head, tail));
  return faults;
}

std::vector<std::string> shape_violations(const SourceFile& file) {
  constexpr std::ptrdiff_t kMaxLines = 600;
  std::vector<std::string> faults;
  if (is_header(file) && file.text.find("#pragma once") == std::string::npos) faults.push_back(file.path + ": no #pragma once");
  const std::ptrdiff_t num_lines = std::count(file.text.begin(), file.text.end(), '\n');
  if ((is_header(file) || is_unit(file)) && num_lines > kMaxLines)
    faults.push_back(fmt::format("{}: {} lines; at most {}", file.path, num_lines, kMaxLines));
  return faults;
}

}  // namespace nabla
