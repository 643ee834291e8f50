#include "tests/chaos/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <string_view>
#include <utility>

namespace nabla::chaos {

namespace {

using Json = nlohmann::ordered_json;

// Why a case of the chaos program has no part in it; empty: at least one has.
constexpr std::array<std::pair<std::string_view, std::string_view>, 24> kFigures{{
    {"A1", ""},  {"A2", ""},  {"A3", ""},
    {"A4", ""},  {"A5", ""},  {"A6", ""},
    {"B1", ""},  {"B2", ""},  {"B3", ""},
    {"B4", ""},  {"B5", ""},  {"B6", ""},
    {"B7", ""},  {"B8", ""},  {"B9", "the learner of the chaos program has one rank, and so no collective to die in"},
    {"B10", ""}, {"B11", ""}, {"B12", ""},
    {"D2", ""},  {"D7", ""},  {"E7", ""},
    {"F1", ""},  {"F2", ""},  {"G", ""},
}};

bool belongs(const Json& row, std::string_view figure) {
  std::istringstream words(row.value("figure", ""));
  for (std::string word; words >> word;)
    if (word == figure) return true;
  return false;
}

}  // namespace

Json summarize_figures(const Json& results, const std::map<std::string, std::int64_t>& wanted) {
  const Json all = results.contains("cases") ? results.at("cases") : Json::object();
  Json figures = Json::object();
  for (const auto& [figure, elsewhere] : kFigures) {
    Json& summary = figures[figure];
    if (!elsewhere.empty()) {
      summary["not_run"] = elsewhere;
      continue;
    }
    std::int64_t passed = 0, runs = 0, asked = 0;
    Json cases = Json::array(), missing = Json::array();
    for (const auto& [name, row] : all.items()) {
      if (!belongs(row, figure)) continue;
      const std::int64_t done = row.value("runs", std::int64_t{0});
      const auto found = wanted.find(name);
      runs += done;
      passed += row.value("passed", std::int64_t{0});
      asked += found == wanted.end() ? done : std::max(done, found->second);
      (done > 0 ? cases : missing).push_back(name);
    }
    summary = {{"passed", passed}, {"runs", runs}, {"wanted", asked}, {"cases", cases}};
    if (!missing.empty()) summary["cases_not_run"] = missing;
  }
  return figures;
}

std::string table_of_figures(const Json& results) {
  const auto names = [](const Json& list) {
    std::string text;
    for (const auto& name : list) text += fmt::format("{}{}", text.empty() ? "" : ", ", name.get<std::string>());
    return text;
  };
  std::string table = "| figure | passed of runs | wanted | cases |\n|---|---|---|---|\n";
  const Json figures = results.contains("figures") ? results.at("figures") : Json::object();
  for (const auto& [figure, summary] : figures.items()) {
    if (summary.contains("not_run")) {
      table += fmt::format("| {} | not run | - | {} |\n", figure, summary.at("not_run").get<std::string>());
      continue;
    }
    const std::string missing = names(summary.value("cases_not_run", Json::array())), done = names(summary.at("cases"));
    const auto runs = summary.at("runs").get<std::int64_t>();
    table += fmt::format("| {} | {} | {} | {}{}{} |\n", figure,
                         runs == 0 ? "not run" : fmt::format("{} of {}", summary.at("passed").get<std::int64_t>(), runs),
                         summary.at("wanted").get<std::int64_t>(), done, done.empty() || missing.empty() ? "" : "; ",
                         missing.empty() ? "" : fmt::format("not run: {}", missing));
  }
  return table;
}

}  // namespace nabla::chaos
