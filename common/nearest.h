#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nabla {

// Insertions, deletions, replacements and swaps of neighbours that turn one text into the other.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate with the smallest edit distance, the first of equals; empty if there are no candidates.
std::string nearest(std::string_view name, const std::vector<std::string>& candidates);

// "a, b, c" for messages; "a, b and 12 more" of more than `most`.
std::string comma_list(const std::vector<std::string>& names, std::size_t most = SIZE_MAX);

}  // namespace nabla
