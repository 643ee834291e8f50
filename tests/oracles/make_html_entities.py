"""Writes the table of HTML's named characters that common/diffusion/html_entity_names.cpp holds.

    python tests/oracles/make_html_entities.py > common/diffusion/html_entity_names.cpp
"""
import html.entities

COLUMNS = 130

words = [f"{name}={'+'.join(f'{ord(character):x}' for character in value)}" for name, value in sorted(html.entities.html5.items())]
lines, line = [], ""
for word in words:
    if len(line) + len(word) > COLUMNS:
        lines.append(line)
        line = ""
    line += word + " "
lines.append(line)

print('''#include "common/diffusion/html_entity_names.h"

namespace nabla {

// Written by tests/oracles/make_html_entities.py.
// clang-format off
const char* const kHtmlEntityNames =''')
print("\n".join(f'    "{line}"' for line in lines) + ";")
print('''// clang-format on

}  // namespace nabla''')
