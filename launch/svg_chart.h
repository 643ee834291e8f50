#pragma once

#include <string>
#include <vector>

namespace nabla {

// One line of a chart. Points that are not finite are left out; on a logarithmic axis also those that are not above 0.
struct ChartSeries {
  std::string name;
  std::vector<double> x, y;
  std::vector<double> spread;  // a band of y +- spread; empty: none
  bool marked = false;         // a dot at every point
  bool joined = true;          // a line through the points
};

struct Chart {
  std::string title, x_label;
  std::vector<ChartSeries> series;
  bool log_y = false;
  bool from_zero = false;      // the value axis begins at 0
};

// The chart as an <svg> element that takes the width it is given; colours come from the page's classes s0, s1, ... A chart without points says so.
std::string draw_chart(const Chart& chart);

// Charts, two in a row, as a file of their own, light on white, that any viewer shows. Series of equal place have equal colours.
std::string draw_chart_file(const std::vector<Chart>& charts);

// Round positions inside [low, high], about `count` of them; low < high.
std::vector<double> round_ticks(double low, double high, int count);

std::string escape_html(const std::string& text);

}  // namespace nabla
