#include "launch/evaluation/run_comparison.h"
#include "launch/svg_chart.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace nabla {

namespace {

using Json = nlohmann::ordered_json;

std::string number(const Json& scores, const char* key) { return scores.contains(key) ? fmt::format("{:.3f}", scores[key].get<double>()) : "-"; }

std::string table_row(const std::string& name, const Json& scores) {
  return fmt::format("  {:<28} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8} {:>8}\n", name, number(scores, "reward_mean"), number(scores, "reward_gain_sd"),
                     number(scores, "true_reward_mean"), number(scores, "true_gain_sd"), number(scores, "diversity"), number(scores, "frechet_to_base"),
                     number(scores, "drift"));
}

}  // namespace

std::string pareto_plot(const Json& comparison) {
  Chart chart{.title = "Reward against diversity", .x_label = "diversity within a prompt", .series = {}};
  const auto add = [&](const std::string& label, const Json& scores) {
    if (!scores.contains("diversity")) return;
    auto series = std::find_if(chart.series.begin(), chart.series.end(), [&](const ChartSeries& one) { return one.name == label; });
    if (series == chart.series.end()) {
      chart.series.push_back({.name = label, .x = {}, .y = {}, .spread = {}, .marked = true, .joined = false});
      series = std::prev(chart.series.end());
    }
    series->x.push_back(scores["diversity"].get<double>());
    series->y.push_back(scores["reward_mean"].get<double>());
  };
  add("base", comparison["base"]);
  for (const auto& run : comparison["runs"]) add(run["label"].get<std::string>(), run);
  return draw_chart_file(chart);
}

std::string comparison_table(const Json& comparison) {
  std::string table = fmt::format("  {:<28} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8} {:>8}\n", "run", "reward", "gain/sd", "true", "gain/sd", "diversity",
                                  "Frechet", "drift");
  table += table_row("base", comparison["base"]);
  for (const auto& run : comparison["runs"]) table += table_row(run["label"].get<std::string>(), run);
  return table;
}

}  // namespace nabla
