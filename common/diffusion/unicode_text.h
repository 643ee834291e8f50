#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nabla {

using CodePoints = std::vector<char32_t>;

// data_error if the text is not UTF-8.
CodePoints decode_utf8(std::string_view text);
void append_utf8(std::string& text, char32_t code_point);

// Canonical composition (NFC). data_error if the text is not UTF-8.
std::string compose_canonically(std::string_view text);
// Each code point by itself, as HF's tokenizers do: the final sigma stays an ordinary one.
std::string lower_case(std::string_view text);

bool is_white_space(char32_t code_point);  // property White_Space
bool is_letter(char32_t code_point);       // categories L*
bool is_number(char32_t code_point);       // categories N*

}  // namespace nabla
