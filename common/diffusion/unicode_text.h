#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nabla {

using CodePoints = std::vector<char32_t>;

// data_error if the text is not UTF-8.
CodePoints decode_utf8(std::string_view text);
void append_utf8(std::string& text, char32_t code_point);

// Canonical composition (NFC) and decomposition (NFD). data_error if the text is not UTF-8.
std::string compose_canonically(std::string_view text);
std::string decompose_canonically(std::string_view text);
// Each code point by itself, as HF's tokenizers do: the final sigma stays an ordinary one.
std::string lower_case(std::string_view text);
// As Python's str.lower(): a sigma at the end of a word becomes the final one.
std::string lower_case_of_words(std::string_view text);
// Of the characters that HTML names; a code point may become several.
std::string upper_case(std::string_view text);

// What Windows takes a C1 control (U+0080 to U+009F) for.
char32_t windows_1252(char32_t control);
// A full-width or half-width form as the ordinary character (or several); any other code point as it is.
CodePoints standard_width(char32_t code_point);

bool is_white_space(char32_t code_point);         // property White_Space
bool is_letter(char32_t code_point);              // categories L*
bool is_number(char32_t code_point);              // categories N*
bool is_decimal_digit(char32_t code_point);       // category Nd
bool is_punctuation(char32_t code_point);         // categories P*
bool is_nonspacing_mark(char32_t code_point);     // category Mn
bool is_control_or_private(char32_t code_point);  // categories Cc, Cf, Cs and Co

}  // namespace nabla
