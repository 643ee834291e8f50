#include "launch/python_lexer.h"

#include "common/error.h"

#include <cctype>
#include <string_view>

namespace nabla {

namespace {

bool starts_name(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' || static_cast<unsigned char>(c) >= 0x80; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

class Lexer {
 public:
  Lexer(std::string_view text, const std::string& source) : text_(text), source_(source) {}

  std::vector<PythonLine> split() {
    while (at_ < text_.size()) read_line();
    return std::move(lines_);
  }

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void read_line() {
    PythonLine line{.number = number_, .indent = read_indent(), .tokens = {}};
    int open_brackets = 0;
    while (at_ < text_.size()) {
      const char c = peek();
      if (c == '\n') {
        ++at_;
        ++number_;
        if (open_brackets == 0) break;
      } else if (c == '#') {
        while (at_ < text_.size() && peek() != '\n') ++at_;
      } else if (c == '\\' && (peek(1) == '\n' || (peek(1) == '\r' && peek(2) == '\n'))) {
        at_ += peek(1) == '\n' ? 2 : 3;
        ++number_;
      } else if (c == ' ' || c == '\t' || c == '\r' || c == '\f') {
        ++at_;
      } else if (c == ';' && open_brackets == 0) {
        ++at_;
        end_line(line);
      } else {
        line.tokens.push_back(read_token());
        if (const PythonToken& token = line.tokens.back(); token.is("(") || token.is("[") || token.is("{")) ++open_brackets;
        if (const PythonToken& token = line.tokens.back(); token.is(")") || token.is("]") || token.is("}")) --open_brackets;
        if (open_brackets < 0) throw data_error("{}:{}: a bracket closes that was never open", source_, number_);
      }
    }
    if (open_brackets > 0) throw data_error("{}:{}: a bracket does not close", source_, line.number);
    end_line(line);
  }

  // Keeps the line if it holds anything; the next one, after a semicolon, stands at the same place.
  void end_line(PythonLine& line) {
    if (!line.tokens.empty()) lines_.push_back(line);
    line.tokens.clear();
  }

  int read_indent() {
    constexpr int kTab = 8;
    int columns = 0;
    for (; peek() == ' ' || peek() == '\t'; ++at_) columns = peek() == ' ' ? columns + 1 : (columns / kTab + 1) * kTab;
    return columns;
  }

  PythonToken read_token() {
    if (is_digit(peek()) || (peek() == '.' && is_digit(peek(1)))) return read_number();
    if (peek() == '"' || peek() == '\'') return read_text();
    if (starts_name(peek())) return read_name();
    return read_operator();
  }

  PythonToken read_number() {
    PythonToken token{PythonToken::Kind::kNumber, ""};
    while (at_ < text_.size()) {
      const char c = peek();
      const bool exponent_sign = (c == '+' || c == '-') && !token.text.empty() && (token.text.back() == 'e' || token.text.back() == 'E') &&
                                 !token.text.starts_with("0x");
      if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '_' && !exponent_sign) break;
      if (c != '_') token.text += c;  // 1_000
      ++at_;
    }
    return token;
  }

  // A name, or a text behind a prefix. Raw and byte texts lose nothing that a setting has; formatted ones are no literals.
  PythonToken read_name() {
    PythonToken token{PythonToken::Kind::kName, ""};
    while (starts_name(peek()) || is_digit(peek())) token.text += text_[at_++];
    const bool opens_text = peek() == '"' || peek() == '\'';
    if (opens_text && (token.text == "r" || token.text == "R" || token.text == "u" || token.text == "b")) return read_text();
    return token;
  }

  PythonToken read_text() {
    const int first_line = number_;
    const char quote = peek();
    const bool triple = peek(1) == quote && peek(2) == quote;
    at_ += triple ? 3 : 1;
    PythonToken token{PythonToken::Kind::kText, ""};
    while (true) {
      const char c = peek();
      if (at_ >= text_.size() || (c == '\n' && !triple)) throw data_error("{}:{}: a text does not end", source_, first_line);
      if (c == quote && (!triple || (peek(1) == quote && peek(2) == quote))) break;
      if (c == '\n') ++number_;
      if (c == '\\') {
        ++at_;
        if (peek() == '\n') ++number_;
        token.text += escaped(peek());
      } else {
        token.text += c;
      }
      ++at_;
    }
    at_ += triple ? 3 : 1;
    return token;
  }

  static std::string escaped(char c) {
    if (c == 'n') return "\n";
    if (c == 't') return "\t";
    if (c == '\n') return "";
    if (c == '\\' || c == '\'' || c == '"') return {c};
    return {'\\', c};
  }

  // Operators of two characters matter where one would be taken for an assignment.
  PythonToken read_operator() {
    constexpr std::string_view kSingle = "()[]{},.";
    PythonToken token{PythonToken::Kind::kOperator, {text_[at_++]}};
    while (peek() == '=' || (token.text == "*" && peek() == '*') || (token.text == "/" && peek() == '/') ||
           (token.text == "-" && peek() == '>')) {
      if (kSingle.find(token.text) != std::string_view::npos || token.text.size() == 3) break;
      token.text += text_[at_++];
    }
    return token;
  }

  std::string_view text_;
  const std::string& source_;
  std::size_t at_ = 0;
  int number_ = 1;
  std::vector<PythonLine> lines_;
};

}  // namespace

std::vector<PythonLine> split_python(const std::string& text, const std::string& source) { return Lexer(text, source).split(); }

}  // namespace nabla
