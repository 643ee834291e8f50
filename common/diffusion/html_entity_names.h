#pragma once

namespace nabla {

// HTML 5's named characters, "name=code+code " one after the other; names that need no ';' stand there twice.
extern const char* const kHtmlEntityNames;

}  // namespace nabla
