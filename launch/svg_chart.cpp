#include "launch/svg_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace nabla {

namespace {

constexpr double kWidth = 560, kPlotHeight = 216, kLeft = 58, kRight = 14, kTop = 44, kBottom = 40, kLegendRow = 16;

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  bool empty() const { return low > high; }
  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  double share(double value) const { return (value - low) / (high - low); }
};

// One chart's coordinates: values to pixels.
struct Plane {
  Range x, y;  // y in decades on a logarithmic axis
  bool log_y = false;
  double head = kTop;  // above the plot: title and legend

  double floor() const { return head + kPlotHeight; }
  double height() const { return floor() + kBottom; }
  double value_y(double value) const { return log_y ? std::log10(value) : value; }
  bool shows(double px, double py) const { return std::isfinite(px) && std::isfinite(py) && (!log_y || py > 0.0); }
  double left(double value) const { return kLeft + x.share(value) * (kWidth - kLeft - kRight); }
  double top(double value) const { return floor() - y.share(value_y(value)) * kPlotHeight; }
};

void widen(Range& range, double share) {
  const double span = range.high - range.low;
  const double extra = span > 0.0 ? share * span : std::max(0.5, 0.1 * std::abs(range.high));
  range.low -= extra;
  range.high += extra;
}

// Where each name of the legend begins; a new row when one is full.
struct LegendKey {
  double x, y;
};
std::vector<LegendKey> legend_keys(const Chart& chart) {
  std::vector<LegendKey> keys;
  double x = kLeft, y = 33;
  for (const auto& series : chart.series) {
    const double width = 15.0 + 6.6 * static_cast<double>(series.name.size());
    if (x > kLeft && x + width > kWidth - kRight) {
      x = kLeft;
      y += kLegendRow;
    }
    keys.push_back({x, y});
    x += width + 17.0;
  }
  return keys;
}

Plane plane_of(const Chart& chart) {
  Plane plane{.x = {}, .y = {}, .log_y = chart.log_y};
  if (!chart.series.empty()) plane.head += legend_keys(chart).back().y - legend_keys(chart).front().y;
  for (const auto& series : chart.series) {
    for (std::size_t i = 0; i < series.x.size(); ++i) {
      if (!plane.shows(series.x[i], series.y[i])) continue;
      const double spread = series.spread.empty() ? 0.0 : series.spread[i];
      plane.x.include(series.x[i]);
      plane.y.include(plane.value_y(series.y[i]));
      if (!chart.log_y && std::isfinite(spread)) {
        plane.y.include(series.y[i] - spread);
        plane.y.include(series.y[i] + spread);
      }
    }
  }
  if (plane.x.empty()) return plane;
  if (plane.x.low == plane.x.high) widen(plane.x, 0.0);
  widen(plane.y, 0.06);
  if (chart.from_zero) plane.y.low = 0.0;
  return plane;
}

std::string tick_text(double value) {
  const double size = std::abs(value);
  if (value != 0.0 && (size >= 1e5 || size < 1e-3)) return fmt::format("{:.0e}", value);
  return fmt::format("{:.6g}", std::round(value * 1e9) / 1e9 + 0.0);
}

std::string grid_line(const Plane& plane, double value, const std::string& label) {
  const double y = plane.top(value);
  return fmt::format(R"(<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/><text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>)", kLeft,
                     kWidth - kRight, y, y, kLeft - 8, y + 4, label);
}

std::vector<double> value_ticks(const Chart& chart, const Plane& plane) {
  if (!chart.log_y) return round_ticks(plane.y.low, plane.y.high, 5);
  std::vector<double> ticks;
  const double every = std::max(1.0, std::ceil((plane.y.high - plane.y.low) / 6.0));
  for (double decade = std::ceil(plane.y.low / every) * every; decade <= plane.y.high; decade += every) ticks.push_back(std::pow(10.0, decade));
  if (ticks.size() >= 2) return ticks;
  return {std::pow(10.0, plane.y.low + 0.1 * (plane.y.high - plane.y.low)), std::pow(10.0, plane.y.high - 0.1 * (plane.y.high - plane.y.low))};
}

std::string value_text(const Chart& chart, double tick) { return chart.log_y ? fmt::format("{:.0e}", tick) : tick_text(tick); }

std::string axes(const Chart& chart, const Plane& plane) {
  std::string svg;
  for (const double tick : value_ticks(chart, plane)) svg += grid_line(plane, tick, value_text(chart, tick));
  for (const double tick : round_ticks(plane.x.low, plane.x.high, 6)) {
    svg += fmt::format(R"(<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>)", plane.left(tick), plane.floor() + 18, tick_text(tick));
  }
  svg += fmt::format(R"(<line class="axis" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>)", kLeft, kWidth - kRight, plane.floor());
  return svg + fmt::format(R"(<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>)", kWidth - kRight, plane.height() - 6, escape_html(chart.x_label));
}

std::string band(const ChartSeries& series, const Plane& plane, std::size_t color) {
  if (series.spread.empty() || plane.log_y) return "";
  std::string above, below;
  for (std::size_t i = 0; i < series.x.size(); ++i) {
    if (!plane.shows(series.x[i], series.y[i]) || !std::isfinite(series.spread[i])) continue;
    above += fmt::format("{:.1f},{:.1f} ", plane.left(series.x[i]), plane.top(series.y[i] + series.spread[i]));
    below = fmt::format("{:.1f},{:.1f} ", plane.left(series.x[i]), plane.top(series.y[i] - series.spread[i])) + below;
  }
  return above.empty() ? "" : fmt::format(R"(<polygon class="band f{}" points="{}{}"/>)", color, above, below);
}

std::string curve(const ChartSeries& series, const Plane& plane, std::size_t color) {
  std::string points, dots;
  std::size_t count = 0;
  for (std::size_t i = 0; i < series.x.size(); ++i) {
    if (!plane.shows(series.x[i], series.y[i])) continue;
    const double x = plane.left(series.x[i]), y = plane.top(series.y[i]);
    points += fmt::format("{:.1f},{:.1f} ", x, y);
    dots += fmt::format(R"(<circle class="f{}" cx="{:.1f}" cy="{:.1f}" r="3.5"><title>{}: {:.4g} at {:g}</title></circle>)", color, x, y,
                        escape_html(series.name), series.y[i], series.x[i]);
    ++count;
  }
  if (count == 0) return "";
  const std::string line = !series.joined ? "" : fmt::format(R"(<polyline class="curve s{}" points="{}"/>)", color, points);
  return series.marked || !series.joined || count == 1 ? line + dots : line;
}

std::string legend(const Chart& chart) {
  std::string svg;
  const std::vector<LegendKey> keys = legend_keys(chart);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    svg += fmt::format(R"(<rect class="f{}" x="{:.0f}" y="{:.0f}" width="10" height="4" rx="2"/><text class="key" x="{:.0f}" y="{:.0f}">{}</text>)", i,
                       keys[i].x, keys[i].y - 6, keys[i].x + 15, keys[i].y, escape_html(chart.series[i].name));
  }
  return svg;
}

}  // namespace

std::string escape_html(const std::string& text) {
  std::string escaped;
  for (const char letter : text) {
    switch (letter) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      default: escaped += letter;
    }
  }
  return escaped;
}

std::vector<double> round_ticks(double low, double high, int count) {
  const double rough = (high - low) / count;
  const double decade = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10.0 * decade;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * decade >= rough) {
      step = factor * decade;
      break;
    }
  }
  std::vector<double> ticks;
  for (double i = std::ceil(low / step); i * step <= high; i += 1.0) ticks.push_back(i * step);
  return ticks;
}

std::string draw_chart(const Chart& chart) {
  const Plane plane = plane_of(chart);
  std::string svg = fmt::format(R"(<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}"><text class="title" x="{}" y="16">{}</text>)", kWidth,
                                plane.height(), escape_html(chart.title), kLeft, escape_html(chart.title));
  if (plane.x.empty()) return svg + fmt::format(R"(<text class="tick" x="{}" y="{}">no data</text></svg>)", kLeft, plane.height() / 2);
  svg += axes(chart, plane);
  for (std::size_t i = 0; i < chart.series.size(); ++i) svg += band(chart.series[i], plane, i);
  for (std::size_t i = 0; i < chart.series.size(); ++i) svg += curve(chart.series[i], plane, i);
  return svg + legend(chart) + "</svg>\n";
}

std::string draw_chart_file(const std::vector<Chart>& charts) {
  constexpr const char* kStyle =
      "svg{background:#fff}text{fill:#666e7c;font:12px system-ui,sans-serif}.title{fill:#22262e;font-weight:600;font-size:15px}.grid{stroke:#e3e4e0}"
      ".axis{stroke:#666e7c}.curve{fill:none;stroke-width:2}.band{opacity:.14}";
  constexpr const char* kColors[] = {"#2563a8", "#d2691e", "#2e8b57", "#8a4fa3", "#b5892b", "#4a4a4a", "#c23b6b", "#00899b", "#7a6a00", "#b03a2e"};
  std::string styles = kStyle, panels;
  std::size_t num_series = 0;
  const double width = charts.size() > 1 ? 2.0 * kWidth : kWidth;
  double top = 0.0, height = 0.0;
  for (std::size_t i = 0; i < charts.size(); ++i) {
    if (i % 2 == 0) top = height;
    const double own_height = plane_of(charts[i]).height(), left = i % 2 == 0 ? 0.0 : kWidth;
    const std::string place = fmt::format(R"( x="{}" y="{}" width="{}" height="{}")", left, top, kWidth, own_height);
    panels += draw_chart(charts[i]).insert(std::string_view("<svg").size(), place);
    height = std::max(height, top + own_height);
    num_series = std::max(num_series, charts[i].series.size());
  }
  for (std::size_t i = 0; i < num_series; ++i) styles += fmt::format(".s{0}{{stroke:{1}}}.f{0}{{fill:{1}}}", i, kColors[i % std::size(kColors)]);
  return fmt::format(R"(<svg xmlns="http://www.w3.org/2000/svg" width="1120" viewBox="0 0 {} {}"><style>{}</style>{}</svg>)", width, height, styles,
                     "\n" + panels) + "\n";
}

}  // namespace nabla
