#include "tests/chaos/figures.h"

#include "tests/chaos/scenario.h"
#include "tests/testing.h"

#include <sstream>

using namespace nabla::chaos;

TEST_CASE("a figure is the passes of the runs of its cases, and names those that were not run") {
  const nlohmann::ordered_json results{{"cases",
                                        {{"kills", {{"figure", "A1 A3"}, {"runs", 2}, {"passed", 1}}},
                                         {"power", {{"figure", "A4"}, {"runs", 0}}},
                                         {"bug:x", {{"figure", "G"}, {"runs", 3}, {"passed", 3}}}}}};
  const auto figures = summarize_figures(results, {{"kills", 4}, {"power", 10}, {"bug:x", 3}});
  CHECK(figures.at("A1").dump() == R"({"passed":1,"runs":2,"wanted":4,"cases":["kills"]})");
  CHECK(figures.at("A3").at("passed") == 1);
  CHECK(figures.at("A4").dump() == R"({"passed":0,"runs":0,"wanted":10,"cases":[],"cases_not_run":["power"]})");
  CHECK(figures.at("G").at("passed") == 3);
  CHECK(figures.at("B9").at("not_run").get<std::string>().find("collective") != std::string::npos);
}

TEST_CASE("what took long is told of all cases of a figure, and no run that hung passes") {
  const nlohmann::ordered_json results{
      {"cases",
       {{"cut", {{"figure", "B3 E5"}, {"runs", 2}, {"passed", 2}, {"hangs", 0}, {"returns", {{"times", 6}, {"longest_s", 2.5}}}}},
        {"gone", {{"figure", "B3 E5"}, {"runs", 3}, {"passed", 2}, {"hangs", 1}, {"returns", {{"times", 1}, {"longest_s", 4.0}}}}},
        {"bug:x", {{"figure", "G"}, {"runs", 3}, {"passed", 3}}}}}};
  const auto figures = summarize_figures(results, {});
  CHECK(figures.at("E5").at("times") == 7);
  CHECK(figures.at("E5").at("longest_s") == 4.0);
  CHECK(!figures.at("B3").contains("times"));
  CHECK(figures.at("E6").at("runs") == 5);
  CHECK(figures.at("E6").at("passed") == 4);
}

TEST_CASE("the table says what was run and what was not") {
  const nlohmann::ordered_json results{
      {"figures",
       {{"A1", {{"passed", 1}, {"runs", 2}, {"wanted", 4}, {"cases", {"kills"}}, {"cases_not_run", {"discards"}}}},
        {"A4", {{"passed", 0}, {"runs", 0}, {"wanted", 10}, {"cases", nlohmann::ordered_json::array()}, {"cases_not_run", {"power"}}}},
        {"B9", {{"not_run", "why"}}}}}};
  CHECK(table_of_figures(results) ==
        "| figure | passed of runs | wanted | cases |\n|---|---|---|---|\n| A1 | 1 of 2 | 4 | kills; not run: discards |\n"
        "| A4 | not run | 10 | not run: power |\n| B9 | not run | - | why |\n");
}

TEST_CASE("every scenario belongs to a figure that is reported") {
  const auto figures = summarize_figures({}, {});
  for (const Scenario& scenario : scenarios(Size::kFull)) {
    std::istringstream words(scenario.figure);
    for (std::string word; words >> word;) CHECK_MESSAGE((word == "-" || figures.contains(word)), scenario.name, ": ", word);
  }
}
