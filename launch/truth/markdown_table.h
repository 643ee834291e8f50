#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace nabla::truth {

// A result, {"cases": [...]} as the command prints it, as a table of Markdown: a row for each case's metrics and each control's first, with the
// value at every seed, the largest floor and what is asked. The last line counts trials and adds up their processor time.
std::string markdown_table(const nlohmann::ordered_json& result);

// Which trials of the whole table, at its seeds, a result holds or lacks: a paragraph.
std::string coverage_text(const nlohmann::ordered_json& result);

}  // namespace nabla::truth
