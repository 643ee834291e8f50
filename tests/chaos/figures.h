#pragma once

#include <nlohmann/json.hpp>

#include <map>
#include <string>

namespace nabla::chaos {

// The reliability figures, each as passes of runs, from the cases of a results file: "A1" to "G". A figure that no case belongs to says why. `wanted`: how
// often each case is to be run.
nlohmann::ordered_json summarize_figures(const nlohmann::ordered_json& results, const std::map<std::string, std::int64_t>& wanted);
// The figures of a results file as a table in Markdown.
std::string table_of_figures(const nlohmann::ordered_json& results);

// Notes in a case's row when it was last run, and how many processes wanted the machine just then.
void note_when(nlohmann::ordered_json& row);

}  // namespace nabla::chaos
