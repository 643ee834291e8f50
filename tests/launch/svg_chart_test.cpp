#include "launch/svg_chart.h"

#include "tests/testing.h"

#include <limits>
#include <sstream>

using namespace nabla;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

Chart chart_of(std::vector<double> x, std::vector<double> y) {
  return {.title = "A title", .x_label = "update", .series = {{.name = "one", .x = std::move(x), .y = std::move(y), .spread = {}}}};
}

// The points of the first polyline, "x,y" each.
std::vector<std::string> points_of(const std::string& svg) {
  const std::string start = "<polyline class=\"curve s0\" points=\"";
  const std::size_t begin = svg.find(start) + start.size();
  std::istringstream text(svg.substr(begin, svg.find('"', begin) - begin));
  std::vector<std::string> points;
  for (std::string point; text >> point;) points.push_back(point);
  return points;
}

double height_of(const std::string& point) { return std::stod(point.substr(point.find(',') + 1)); }

}  // namespace

TEST_CASE("ticks are round numbers inside the range") {
  CHECK(round_ticks(0.0, 10.0, 5) == std::vector<double>{0, 2, 4, 6, 8, 10});
  CHECK(round_ticks(0.3, 9.7, 5) == std::vector<double>{2, 4, 6, 8});
  CHECK(round_ticks(-5.0, 5.0, 4) == std::vector<double>{-5, 0, 5});
  CHECK(round_ticks(100.0, 900.0, 4) == std::vector<double>{200, 400, 600, 800});
  for (const auto& [low, high] : {std::pair{0.0, 1e-7}, {-3e8, 2e9}, {0.999, 1.001}}) {
    const std::vector<double> ticks = round_ticks(low, high, 5);
    CHECK(ticks.size() >= 2);
    CHECK(ticks.size() <= 7);
    CHECK(ticks.front() >= low);
    CHECK(ticks.back() <= high);
  }
}

TEST_CASE("a chart draws every point, the larger value higher") {
  const auto points = points_of(draw_chart(chart_of({0, 1, 2}, {1, 3, 2})));
  REQUIRE(points.size() == 3);
  CHECK(height_of(points[1]) < height_of(points[2]));
  CHECK(height_of(points[2]) < height_of(points[0]));
}

TEST_CASE("points that are not finite are left out") {
  const std::string svg = draw_chart(chart_of({0, 1, 2, 3, kNaN}, {1, kNaN, kInfinity, 2, 3}));
  CHECK(points_of(svg).size() == 2);
  CHECK_FALSE(holds(svg, "nan"));
  CHECK_FALSE(holds(svg, "inf"));
}

TEST_CASE("a logarithmic axis leaves out what has no logarithm and names decades") {
  Chart chart = chart_of({0, 1, 2, 3}, {1e-4, 0.0, -1.0, 1.0});
  chart.log_y = true;
  const std::string svg = draw_chart(chart);
  CHECK(points_of(svg).size() == 2);
  CHECK(holds(svg, ">1e-03<"));
  CHECK_FALSE(holds(svg, "nan"));
}

TEST_CASE("a chart without points says so") {
  for (const Chart& chart : {chart_of({}, {}), chart_of({1}, {kNaN}), Chart{.title = "A title", .x_label = "x", .series = {}}}) {
    const std::string svg = draw_chart(chart);
    CHECK(holds(svg, "no data"));
    CHECK(holds(svg, "A title"));
    CHECK(svg.find("</svg>") != std::string::npos);
    CHECK_FALSE(holds(svg, "nan"));
  }
}

TEST_CASE("one point and equal values can be seen") {
  const std::string one = draw_chart(chart_of({5}, {2}));
  CHECK(count_of(one, "<circle") == 1);
  CHECK_FALSE(holds(one, "nan"));
  CHECK_FALSE(holds(one, "inf"));
  const std::string flat = draw_chart(chart_of({0, 1}, {0, 0}));
  CHECK(points_of(flat).size() == 2);
  CHECK_FALSE(holds(flat, "nan"));
}

TEST_CASE("a spread is drawn as a band, marks as dots") {
  Chart chart = chart_of({0, 1, 2}, {1, 3, 2});
  CHECK_FALSE(holds(draw_chart(chart), "<polygon"));
  CHECK_FALSE(holds(draw_chart(chart), "<circle"));
  chart.series.front().spread = {0.5, kNaN, 0.5};
  chart.series.front().marked = true;
  const std::string svg = draw_chart(chart);
  CHECK(count_of(svg, "<polygon") == 1);
  CHECK(count_of(svg, "<circle") == 3);
  CHECK_FALSE(holds(svg, "nan"));
}

TEST_CASE("an axis begins at 0 where that is asked for") {
  Chart chart = chart_of({0, 1}, {100, 101});
  CHECK_FALSE(holds(draw_chart(chart), ">0</text><line"));
  CHECK_FALSE(holds(draw_chart(chart), ">50<"));
  chart.from_zero = true;
  CHECK(holds(draw_chart(chart), ">50<"));
}

TEST_CASE("every series has its name in the legend and its own colour") {
  Chart chart = chart_of({0, 1}, {0, 1});
  chart.series.push_back({.name = "two", .x = {0, 1}, .y = {1, 0}, .spread = {}});
  const std::string svg = draw_chart(chart);
  for (const char* part : {">one<", ">two<", "curve s0", "curve s1"}) CHECK(holds(svg, part));
}

TEST_CASE("a legend that is wider than the chart goes on in a second row, and the plot makes room for it") {
  Chart chart = chart_of({0, 1}, {1, 2});
  const std::string narrow = draw_chart(chart);
  for (int i = 0; i < 9; ++i) chart.series.push_back({.name = "a name of some length", .x = {0, 1}, .y = {1, 2}, .spread = {}});
  const std::string svg = draw_chart(chart);
  CHECK(holds(narrow, "viewBox=\"0 0 560 300\""));
  CHECK(holds(svg, "viewBox=\"0 0 560 364\""));
  CHECK(height_of(points_of(svg)[0]) == doctest::Approx(height_of(points_of(narrow)[0]) + 64));
}

TEST_CASE("charts of one file stand two in a row, each drawn whole") {
  const Chart chart = chart_of({0, 1}, {1, 2});
  const std::string file = draw_chart_file({chart, chart, chart});
  CHECK(file.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  CHECK(holds(file, "viewBox=\"0 0 1120 600\""));
  for (const char* place : {"<svg x=\"0\" y=\"0\"", "<svg x=\"560\" y=\"0\" width=\"560\" height=\"300\"", "<svg x=\"0\" y=\"300\""})
    CHECK(holds(file, place));
  CHECK(holds(draw_chart_file({chart}), "viewBox=\"0 0 560 300\""));
  CHECK(count_of(file, "<svg") == 4);
  CHECK(count_of(file, "</svg>") == 4);
}

TEST_CASE("names cannot break the page") {
  Chart chart = chart_of({0, 1}, {0, 1});
  chart.title = "<script>\"&";
  chart.series.front().name = "<b>";
  const std::string svg = draw_chart(chart);
  CHECK(holds(svg, "&lt;script&gt;&quot;&amp;"));
  CHECK_FALSE(holds(svg, "<script>"));
  CHECK_FALSE(holds(svg, "<b>"));
  CHECK(escape_html("a < b & \"c\" > d") == "a &lt; b &amp; &quot;c&quot; &gt; d");
}
