#include "launch/live/prometheus_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace nabla {

namespace {

std::string escaped(const std::string& value) {
  std::string text;
  for (const char letter : value) {
    if (letter == '\\' || letter == '"') text += '\\';
    if (letter == '\n') {
      text += "\\n";
    } else {
      text += letter;
    }
  }
  return text;
}

std::string value_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

}  // namespace

void PrometheusText::sample(const std::string& family, const std::string& help, const std::string& type, const std::string& name,
                            double value, const MetricLabels& labels) {
  auto found = std::ranges::find(families_, family, &Family::name);
  if (found == families_.end()) found = families_.insert(families_.end(), {family, help, type, ""});
  std::string pairs;
  for (const auto* group : {&std::as_const(common_), &labels}) {
    for (const auto& [label, text] : *group) pairs += fmt::format("{}{}=\"{}\"", pairs.empty() ? "" : ",", label, escaped(text));
  }
  found->samples += fmt::format("{}{} {}\n", name, pairs.empty() ? "" : fmt::format("{{{}}}", pairs), value_text(value));
}

void PrometheusText::gauge(const std::string& name, const std::string& help, double value, const MetricLabels& labels) {
  sample(name, help, "gauge", name, value, labels);
}

void PrometheusText::counter(const std::string& name, const std::string& help, double value, const MetricLabels& labels) {
  sample(name, help, "counter", name, value, labels);
}

void PrometheusText::histogram(const std::string& name, const std::string& help, const std::map<double, double>& counts,
                               const std::vector<double>& bounds) {
  double total = 0, sum = 0;
  for (const auto& [value, count] : counts) {
    total += count;
    sum += value * count;
  }
  for (const double bound : bounds) {
    double below = 0;
    for (const auto& [value, count] : counts) below += value <= bound ? count : 0;
    sample(name, help, "histogram", fmt::format("{}_bucket", name), below, {{"le", value_text(bound)}});
  }
  sample(name, help, "histogram", fmt::format("{}_bucket", name), total, {{"le", "+Inf"}});
  sample(name, help, "histogram", fmt::format("{}_sum", name), sum, {});
  sample(name, help, "histogram", fmt::format("{}_count", name), total, {});
}

std::string PrometheusText::text() const {
  std::string text;
  for (const Family& family : families_)
    text += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n{3}", family.name, family.help, family.type, family.samples);
  return text;
}

}  // namespace nabla
