#include "tests/chaos/figures.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <sstream>
#include <string_view>
#include <utility>

namespace nabla::chaos {

namespace {

using Json = nlohmann::ordered_json;

// Why a case of the chaos program has no part in it; empty: at least one has.
constexpr std::array<std::pair<std::string_view, std::string_view>, 27> kFigures{{
    {"A1", ""},  {"A2", ""},  {"A3", ""},  {"A4", ""}, {"A5", ""},
    {"A6", ""},  {"B1", ""},  {"B2", ""},  {"B3", ""}, {"B4", ""},
    {"B5", ""},  {"B6", ""},  {"B7", ""},  {"B8", ""}, {"B9", "ranks die inside a collective in group_tests and learner_tests, not here"},
    {"B10", ""}, {"B11", ""}, {"B12", ""}, {"D2", ""}, {"D7", ""},
    {"E3", ""},  {"E5", ""},  {"E6", ""},  {"E7", ""}, {"F1", ""},
    {"F2", ""},  {"G", ""},
}};

bool belongs(const Json& row, std::string_view figure) {
  std::istringstream words(row.value("figure", ""));
  for (std::string word; words >> word;)
    if (word == figure) return true;
  return false;
}

// E6 is every run that could have hung.
Json summarize_hangs(const Json& cases) {
  constexpr std::int64_t kWanted = 50;
  std::int64_t runs = 0, hangs = 0;
  Json names = Json::array();
  for (const auto& [name, row] : cases.items()) {
    if (!row.contains("hangs")) continue;
    runs += row.value("runs", std::int64_t{0});
    hangs += row.at("hangs").get<std::int64_t>();
    names.push_back(name);
  }
  return {{"passed", runs - hangs}, {"runs", runs}, {"wanted", std::max(kWanted, runs)}, {"cases", names}};
}

// How often somebody was awaited, and how long at most.
void add_comebacks(Json& summary, const Json& row) {
  summary["times"] = summary.value("times", std::int64_t{0}) + row.at("times").get<std::int64_t>();
  summary["longest_s"] = std::max(summary.value("longest_s", 0.0), row.at("longest_s").get<double>());
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
    if (figure == "E6") {
      summary = summarize_hangs(all);
      continue;
    }
    std::int64_t passed = 0, runs = 0, asked = 0;
    Json comebacks = Json::object();
    Json cases = Json::array(), missing = Json::array();
    for (const auto& [name, row] : all.items()) {
      if (!belongs(row, figure)) continue;
      const std::int64_t done = row.value("runs", std::int64_t{0});
      const auto found = wanted.find(name);
      runs += done;
      passed += row.value("passed", std::int64_t{0});
      asked += found == wanted.end() ? done : std::max(done, found->second);
      (done > 0 ? cases : missing).push_back(name);
      const char* comeback = figure == "E3" ? "restarts" : figure == "E5" ? "returns" : "";
      if (row.contains(comeback)) add_comebacks(comebacks, row.at(comeback));
    }
    summary = {{"passed", passed}, {"runs", runs}, {"wanted", asked}, {"cases", cases}};
    summary.update(comebacks);
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

void note_when(Json& row) {
  std::array<double, 1> load{};
  getloadavg(load.data(), 1);
  row["date"] = fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::time(nullptr)));
  row["load"] = std::round(10 * load[0]) / 10;
}

}  // namespace nabla::chaos
