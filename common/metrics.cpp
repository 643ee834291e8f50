#include "common/metrics.h"

#include "common/error.h"
#include "common/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>

namespace nabla {

MetricsWriter::MetricsWriter(const std::string& path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw failure("[metrics] cannot open '{}': {}", path, std::strerror(errno));
}

MetricsWriter::~MetricsWriter() { ::close(descriptor_); }

void MetricsWriter::write(const nlohmann::ordered_json& object) {
  const std::string line = object.dump() + "\n";
  const std::lock_guard lock(mutex_);
  write_all(descriptor_, std::as_bytes(std::span(line)), path_);
}

void Counters::add(const std::string& name, double amount) {
  const std::lock_guard lock(mutex_);
  values_[name] += amount;
}

double Counters::value(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = values_.find(name);
  return found == values_.end() ? 0.0 : found->second;
}

std::map<std::string, double> Counters::all() const {
  const std::lock_guard lock(mutex_);
  return values_;
}

}  // namespace nabla
