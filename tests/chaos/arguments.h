#pragma once

#include "common/error.h"

#include <algorithm>
#include <string>
#include <vector>

namespace nabla::chaos {

// Words like "--name value" and "--flag" of a test program.
class Arguments {
 public:
  Arguments(int argc, char** argv, int first) : words_(argv + std::min(first, argc), argv + argc) {}
  bool has(const std::string& name) const { return std::ranges::find(words_, name) != words_.end(); }
  std::string text(const std::string& name, const std::string& otherwise) const {
    const auto found = std::ranges::find(words_, name);
    return found == words_.end() || found + 1 == words_.end() ? otherwise : *(found + 1);
  }
  std::string text(const std::string& name) const {
    const std::string value = text(name, "");
    if (value.empty()) throw usage_error("[chaos] {} needs a value", name);
    return value;
  }
  long number(const std::string& name, long otherwise) const { return has(name) ? std::stol(text(name)) : otherwise; }

 private:
  std::vector<std::string> words_;
};

}  // namespace nabla::chaos
