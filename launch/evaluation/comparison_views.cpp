#include "launch/evaluation/run_comparison.h"
#include "launch/svg_chart.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace nabla {

namespace {

using Json = nlohmann::ordered_json;

std::string number(const Json& scores, const char* key) {
  if (!scores.contains(key)) return "-";
  const std::string text = fmt::format("{:.3f}", scores[key].get<double>());
  return text == "-0.000" ? "0.000" : text;
}

std::string table_row(const std::string& name, const Json& scores) {
  return fmt::format("  {:<28} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8} {:>8}\n", name, number(scores, "reward_mean"),
                     number(scores, "reward_gain_sd"), number(scores, "true_reward_mean"), number(scores, "true_gain_sd"),
                     number(scores, "diversity"), number(scores, "frechet_to_base"), number(scores, "drift"));
}

// One panel: a gain above what it costs.
struct Panel {
  const char *title, *gain, *cost, *cost_label;
  bool cheap_is_left;  // else what is kept is on the axis, and more of it is better
};
constexpr Panel kPanels[] = {
    {"Reward gain, in deviations of the base, against diversity", "reward_gain_sd", "diversity", "diversity within a prompt", false},
    {"The same of the true reward, which training does not see", "true_gain_sd", "diversity", "diversity within a prompt", false},
    {"Reward gain against the distance from the base's pictures", "reward_gain_sd", "frechet_to_base",
     "Frechet distance to the base, a prompt", true},
};

void add_point(Chart& chart, const std::string& label, const Json& scores, const Panel& panel) {
  if (!scores.contains(panel.cost) || !scores.contains(panel.gain)) return;
  auto series = std::find_if(chart.series.begin(), chart.series.end(), [&](const ChartSeries& one) { return one.name == label; });
  if (series == chart.series.end()) {
    chart.series.push_back({.name = label, .x = {}, .y = {}, .spread = {}, .marked = true, .joined = false});
    series = std::prev(chart.series.end());
  }
  series->x.push_back(scores[panel.cost].get<double>());
  series->y.push_back(scores[panel.gain].get<double>());
}

// Through the points that no other one exceeds in both.
ChartSeries front_of(const Chart& chart, const Panel& panel) {
  std::vector<std::pair<double, double>> points;
  for (const auto& series : chart.series) {
    for (std::size_t i = 0; i < series.x.size(); ++i) points.emplace_back(series.x[i], series.y[i]);
  }
  std::sort(points.begin(), points.end(), [&](const auto& a, const auto& b) {
    if (a.first != b.first) return panel.cheap_is_left == (a.first < b.first);
    return a.second > b.second;
  });
  ChartSeries front{.name = "Pareto front", .x = {}, .y = {}, .spread = {}};
  for (const auto& [x, y] : points) {
    if (!front.y.empty() && y <= front.y.back()) continue;
    front.x.push_back(x);
    front.y.push_back(y);
  }
  return front;
}

Chart chart_of(const Json& comparison, const Panel& panel) {
  Chart chart{.title = panel.title, .x_label = panel.cost_label, .series = {}};
  add_point(chart, "base", comparison["base"], panel);
  for (const auto& run : comparison["runs"]) add_point(chart, run["label"].get<std::string>(), run, panel);
  // A front of one point would cover that run's own dot.
  if (ChartSeries front = front_of(chart, panel); front.x.size() > 1) chart.series.push_back(std::move(front));
  return chart;
}

}  // namespace

std::string pareto_plot(const Json& comparison) {
  std::vector<Chart> charts;
  for (const Panel& panel : kPanels) {
    if (comparison["base"].contains(panel.gain)) charts.push_back(chart_of(comparison, panel));
  }
  return draw_chart_file(charts);
}

std::string comparison_table(const Json& comparison) {
  std::string table = fmt::format("  {:<28} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8} {:>8}\n", "run", "reward", "gain/sd", "true", "gain/sd",
                                  "diversity", "Frechet", "drift");
  table += table_row("base", comparison["base"]);
  for (const auto& run : comparison["runs"]) table += table_row(run["label"].get<std::string>(), run);
  return table;
}

}  // namespace nabla
