#include "launch/run_recorder.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/files.h"
#include "common/json_file.h"
#include "common/log.h"
#include "launch/gallery.h"
#include "launch/report.h"
#include "launch/run_folder.h"
#include "launch/summary.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>
#include <sstream>

namespace nabla {

namespace {

constexpr std::size_t kMaxConfigBytes = 1 << 20;
constexpr std::size_t kMaxPictureBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxMetricsBytes = std::size_t{1} << 32;
constexpr double kStatusEvery = 1.0;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Nothing for a line that a crash of the machine left in pieces.
std::optional<UpdateReport> report_in(const std::string& line, const std::string& file) {
  try {
    UpdateReport report;
    const auto json = parse_json(line, file);
    for (const auto& [name, value] : json.items()) {
      if (name == "update") report.update = value.get<std::int64_t>();
      if (name == "wall_s") report.wall_s = value.get<double>();
      if (name != "update" && name != "wall_s") report.metrics[name] = value.is_number() ? value.get<double>() : std::nan("");
    }
    return report;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

RunRecorder::RunRecorder(std::string run_dir, Console& console)
    : run_dir_(std::move(run_dir)), console_(console) {
  metrics_.emplace(run_dir_ + "/metrics.jsonl");
}

void RunRecorder::on_start(const RunFacts& facts) {
  facts_ = facts;
  {
    const std::lock_guard lock(status_mutex_);
    status_ = facts.status;
  }
  if (!facts.control_endpoint.empty()) point_latest(run_dir_);  // not for a replay
  console_.start(facts, run_dir_);
  write_status("running", "");
}

void RunRecorder::on_resume(std::int64_t next_update) {
  const std::string file = run_dir_ + "/metrics.jsonl";
  metrics_.reset();
  std::string kept;
  for (const std::string& line : lines_of(read_file(file, kMaxMetricsBytes))) {
    const auto report = report_in(line, file);
    if (!report || report->update > next_update) continue;
    kept += line + "\n";
    updates_.push_back(*report);
  }
  write_file(file, kept);
  metrics_.emplace(file);
  std::error_code ignored;
  std::filesystem::remove(run_dir_ + "/summary.json", ignored);  // of the end that was none
}

void RunRecorder::on_wait(const std::string& reason) {
  console_.wait(reason);
  write_status("waiting", reason);
}

void RunRecorder::on_update(const UpdateReport& report) {
  nlohmann::ordered_json line{{"update", report.update}, {"wall_s", report.wall_s}};
  for (const auto& [name, value] : report.metrics) line[name] = value;
  metrics_->write(line);
  updates_.push_back(report);
  console_.update(report);
  if (monotonic_seconds() - last_status_ >= kStatusEvery) write_status("running", "");
}

std::shared_ptr<const FleetStatus> RunRecorder::live_status() const {
  const auto status = [this] {
    const std::lock_guard lock(status_mutex_);
    return status_;
  }();
  return status ? status() : nullptr;
}

void RunRecorder::on_evaluation(const EvaluationSummary& evaluation) { console_.evaluation(evaluation); }

void RunRecorder::write_status(const std::string& state, const std::string& waiting_for) {
  last_status_ = monotonic_seconds();
  nlohmann::ordered_json json{{"state", state}, {"run_id", facts_.run_id}, {"updates", facts_.updates}};
  json["update"] = updates_.empty() ? 0 : updates_.back().update;
  if (!waiting_for.empty()) json["waiting_for"] = waiting_for;
  if (!updates_.empty()) json["metrics"] = updates_.back().metrics;
  write_json(run_dir_ + "/status.json", json);
}

void RunRecorder::finish(const LearnerResult& result) {
  try {
    write_end(result.summary);
  } catch (const std::exception& problem) {
    if (!result.error) throw;
    log_error("the end of the run could not be written down: {}", problem.what());
  }
  console_.finish(result.summary, run_dir_);
  if (result.error) std::rethrow_exception(result.error);
}

void RunRecorder::write_end(const RunSummary& summary) {
  write_json(run_dir_ + "/summary.json", summary_json(summary));
  write_status(summary.exit_reason, "");
  std::string picture;
  if (!summary.evaluation.empty() && !summary.evaluation.front().images.empty()) {
    write_gallery(run_dir_ + "/gallery.png", summary);
    picture = read_file(run_dir_ + "/gallery.png", kMaxPictureBytes);
  }
  const std::string config = read_file(run_dir_ + "/config.yaml", kMaxConfigBytes);
  write_file(run_dir_ + "/report.html", report_html(summary, facts_, updates_, picture, config));
}

}  // namespace nabla
