#pragma once

#include <string>
#include <vector>

namespace nabla {

struct PythonToken {
  enum class Kind { kName, kNumber, kText, kOperator };
  Kind kind = Kind::kOperator;
  std::string text;  // of a text: its content, escapes resolved
  bool is(const char* what) const { return kind != Kind::kText && text == what; }
};

// One logical line: brackets and backslashes join the lines of a file.
struct PythonLine {
  int number = 0;  // of its first line in the file, from 1
  int indent = 0;  // columns
  std::vector<PythonToken> tokens;
};

// Splits Python source into logical lines, without comments and blank lines. data_error naming `source` and the line for text without an end
// and brackets that do not close.
std::vector<PythonLine> split_python(const std::string& text, const std::string& source);

}  // namespace nabla
