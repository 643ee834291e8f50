#pragma once

#include <string>

namespace nabla {

// What ftfy.fix_text does to a prompt: HTML references, C1 controls, Latin ligatures, full-width and half-width forms, curly quotes, line breaks, terminal
// escapes, control characters, NFC. Its repair of text that was decoded in a wrong encoding ("dÃ©jÃ ") is left out: it is a guess, and prompts are UTF-8.
// data_error if the text is not UTF-8.
std::string repair_text(const std::string& text);

}  // namespace nabla
