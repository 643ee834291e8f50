#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace nabla {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

// Collects samples and prints them in Prometheus' text format 0.0.4: families in the order of their first sample, each with its help and type.
class PrometheusText {
 public:
  // The labels that every sample has.
  explicit PrometheusText(MetricLabels common) : common_(std::move(common)) {}

  void gauge(const std::string& name, const std::string& help, double value, const MetricLabels& labels = {});
  // A total that only grows; the name ends in _total.
  void counter(const std::string& name, const std::string& help, double value, const MetricLabels& labels = {});
  // `counts`: by value; `bounds` ascend.
  void histogram(const std::string& name, const std::string& help, const std::map<double, double>& counts,
                 const std::vector<double>& bounds);

  std::string text() const;
  static constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  struct Family {
    std::string name, help, type, samples;
  };
  void sample(const std::string& family, const std::string& help, const std::string& type, const std::string& name, double value,
              const MetricLabels& labels);

  MetricLabels common_;
  std::vector<Family> families_;
};

}  // namespace nabla
