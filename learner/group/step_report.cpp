#include "learner/group/step_report.h"

#include "common/error.h"

#include <nlohmann/json.hpp>

namespace nabla {

namespace {

std::string bytes_of(const StepReport& report) {
  const nlohmann::json json{{"terms", report.terms},
                            {"counters", report.counters},
                            {"has_gradient", report.has_gradient},
                            {"stopped", report.stopped},
                            {"problem", report.problem}};
  std::string bytes;
  nlohmann::json::to_cbor(json, bytes);
  return bytes;
}

StepReport report_of(const std::string& bytes) {
  const auto json = nlohmann::json::from_cbor(bytes);
  StepReport report;
  json.at("terms").get_to(report.terms);
  json.at("counters").get_to(report.counters);
  json.at("has_gradient").get_to(report.has_gradient);
  json.at("stopped").get_to(report.stopped);
  json.at("problem").get_to(report.problem);
  return report;
}

}  // namespace

StepReport gather(ProcessGroup& group, const StepReport& own) {
  if (group.size() == 1) return own;
  StepReport all;
  for (const auto& bytes : group.all_gather(bytes_of(own))) {
    const StepReport report = report_of(bytes);
    for (const auto& [name, sum] : report.terms) all.terms[name] += sum;
    for (const auto& [name, count] : report.counters) all.counters[name] += count;
    all.has_gradient.resize(report.has_gradient.size());
    for (std::size_t i = 0; i < report.has_gradient.size(); ++i) all.has_gradient[i] = all.has_gradient[i] || report.has_gradient[i];
    all.stopped = all.stopped || report.stopped;
    if (all.problem.empty()) all.problem = report.problem;
  }
  return all;
}

void require_same(ProcessGroup& group, const std::string& what, const std::string& text) {
  const auto texts = group.all_gather(text);
  std::string others;
  for (int rank = 1; rank < group.size(); ++rank) {
    const auto& theirs = texts[static_cast<std::size_t>(rank)];
    if (theirs != texts.front()) others += fmt::format("{}rank {} has {}", others.empty() ? "" : ", ", rank, theirs);
  }
  if (!others.empty()) throw failure("[group] the ranks differ in {}: rank 0 has {}, {}", what, texts.front(), others);
}

}  // namespace nabla
