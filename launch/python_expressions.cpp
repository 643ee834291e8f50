#include "launch/python_expressions.h"

#include <algorithm>

namespace nabla {

namespace {

// The end of the items that a bracket holds: the index of the comma or closing bracket that follows `from`.
std::size_t end_of_item(PythonTokens tokens, std::size_t from) {
  int depth = 0;
  for (std::size_t i = from; i < tokens.size(); ++i) {
    if (tokens[i].is("(") || tokens[i].is("[") || tokens[i].is("{")) ++depth;
    if (tokens[i].is(")") || tokens[i].is("]") || tokens[i].is("}")) {
      if (depth == 0) return i;
      --depth;
    }
    if (tokens[i].is(",") && depth == 0) return i;
  }
  return tokens.size();
}

std::string in_quotes(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) result += (c == '"' || c == '\\') ? std::string{'\\', c} : std::string{c};
  return result + "\"";
}

std::optional<std::string> literal_item(PythonTokens tokens, bool inside_list) {
  using Kind = PythonToken::Kind;
  if (tokens.empty()) return std::nullopt;
  if (std::all_of(tokens.begin(), tokens.end(), [](const PythonToken& token) { return token.kind == Kind::kText; })) {
    std::string text;
    for (const PythonToken& token : tokens) text += token.text;
    return inside_list ? in_quotes(text) : text;
  }
  const bool is_signed = tokens.size() == 2 && (tokens[0].is("-") || tokens[0].is("+")) && tokens[1].kind == Kind::kNumber;
  if (is_signed) return (tokens[0].is("-") ? "-" : "") + tokens[1].text;
  if (tokens.size() == 1 && tokens[0].kind == Kind::kNumber) return tokens[0].text;
  if (tokens.size() == 1 && (tokens[0].is("True") || tokens[0].is("False"))) return tokens[0].text;
  if (tokens.size() == 1 && tokens[0].is("None")) return "";
  if (tokens.size() == 2 && tokens[0].is("{") && tokens[1].is("}")) return "{}";
  const bool bracketed = (tokens[0].is("(") && tokens.back().is(")")) || (tokens[0].is("[") && tokens.back().is("]"));
  if (!bracketed) return std::nullopt;
  // A comma makes a tuple; without one the brackets only group.
  const bool is_group = tokens[0].is("(") && tokens.size() > 2 && end_of_item(tokens, 1) + 1 == tokens.size();
  if (is_group) return literal_item(tokens.subspan(1, tokens.size() - 2), inside_list);
  if (inside_list) return std::nullopt;
  std::string list;
  for (std::size_t i = 1; i + 1 < tokens.size();) {
    const std::size_t end = end_of_item(tokens, i);
    const auto item = literal_item(tokens.subspan(i, end - i), true);
    if (!item || end >= tokens.size()) return std::nullopt;
    list += (list.empty() ? "" : ", ") + *item;
    i = end + 1;
  }
  return "[" + list + "]";
}

}  // namespace

std::vector<std::string> dotted_path(PythonTokens tokens) {
  if (tokens.empty() || tokens[0].kind != PythonToken::Kind::kName) return {};
  std::vector<std::string> parts{tokens[0].text};
  for (std::size_t i = 1; i < tokens.size();) {
    if (tokens[i].is(".") && i + 1 < tokens.size() && tokens[i + 1].kind == PythonToken::Kind::kName) {
      parts.push_back(tokens[i + 1].text);
      i += 2;
    } else if (tokens[i].is("[") && i + 2 < tokens.size() && tokens[i + 1].kind == PythonToken::Kind::kText && tokens[i + 2].is("]")) {
      parts.push_back(tokens[i + 1].text);
      i += 3;
    } else {
      return {};
    }
  }
  return parts;
}

std::optional<std::string> literal_text(PythonTokens tokens) { return literal_item(tokens, false); }

std::string source_text(PythonTokens tokens) {
  std::string text;
  for (const PythonToken& token : tokens) {
    const bool spaced =
        !text.empty() && token.kind != PythonToken::Kind::kOperator && text.back() != '.' && text.back() != '(' && text.back() != '[';
    text += (spaced ? " " : "") + (token.kind == PythonToken::Kind::kText ? "'...'" : token.text);
  }
  constexpr std::size_t kLong = 60;
  return text.size() > kLong ? text.substr(0, kLong) + " ..." : text;
}

}  // namespace nabla
