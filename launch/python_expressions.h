#pragma once

#include "launch/python_lexer.h"

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nabla {

using PythonTokens = std::span<const PythonToken>;

// "a", "b" of `a.b` or `a["b"]`; nothing if the tokens are anything else.
std::vector<std::string> dotted_path(PythonTokens tokens);

// The value of a literal as a setting takes it: number, text, True, False, None (empty), tuple or list of plain literals ("[1, 2]"), {}.
// Nothing for other expressions.
std::optional<std::string> literal_text(PythonTokens tokens);

// The tokens as source for messages, shortened; texts are left out, as they may be secrets.
std::string source_text(PythonTokens tokens);

}  // namespace nabla
