#pragma once

#include "common/clock.h"

#include <nlohmann/json_fwd.hpp>

#include <map>
#include <mutex>
#include <string>

namespace nabla {

// Appends to a JSON-lines file: one object a line, each line handed to the kernel in one call, so that a reader or a crash never sees half
// of one. Thread safe. failure() if the file cannot be opened or written.
class MetricsWriter {
 public:
  explicit MetricsWriter(const std::string& path);
  ~MetricsWriter();
  MetricsWriter(const MetricsWriter&) = delete;
  MetricsWriter& operator=(const MetricsWriter&) = delete;

  // NaN and infinite numbers are written as null, which is all JSON has for them.
  void write(const nlohmann::ordered_json& object);

 private:
  std::string path_;
  std::mutex mutex_;  // held while writing: one line at a time
  int descriptor_ = -1;
};

// Named sums, such as seconds spent in a stage. Thread safe.
class Counters {
 public:
  void add(const std::string& name, double amount);
  double value(const std::string& name) const;  // 0 for a name never added to
  std::map<std::string, double> all() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, double> values_;  // guarded by mutex_
};

// Adds its own lifetime in seconds to one counter. `counters` must outlive it.
class StageTimer {
 public:
  StageTimer(Counters& counters, std::string stage) : counters_(counters), stage_(std::move(stage)), start_(monotonic_seconds()) {}
  ~StageTimer() { counters_.add(stage_, monotonic_seconds() - start_); }
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

 private:
  Counters& counters_;
  std::string stage_;
  double start_;
};

}  // namespace nabla
