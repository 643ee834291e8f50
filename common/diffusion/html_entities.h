#pragma once

#include <string>

namespace nabla {

// Python's html.unescape: every reference of HTML 5, named ones also without their ';' and as the start of a longer name.
std::string unescape_html(const std::string& text);
// ftfy's stricter rule: references that end in ';' and are decoded whole, and names that somebody wrote in capitals (&EACUTE;).
std::string unescape_whole_html(const std::string& text);

}  // namespace nabla
