#include "learner/checkpoint/log_history.h"

#include "common/mapped_file.h"
#include "protocol/log_format.h"
#include "protocol/segment_files.h"

#include <filesystem>
#include <variant>

namespace nabla {

namespace {

struct EntryTaker {
  LogHistory& history;
  void operator()(const LogHeader&) const {}
  void operator()(const EncodedRecord& record) const { history.records.push_back(record); }
  void operator()(const PublishEntry& entry) const { history.published.emplace(entry.version, entry.digest); }
  void operator()(const DiscardEntry& entry) const { history.discards.push_back(entry); }
  void operator()(const TrainedEntry& entry) const { history.trained.emplace(entry.update, entry.slots); }
};

// The only segment of a log ends before its header entry does. Records come after that, so nothing was acknowledged.
bool is_unborn(const std::string& folder, const std::string& segment) {
  if (is_torn_header(MappedFile(segment).bytes())) return true;
  return !TrajectoryLogReader(folder).next();
}

}  // namespace

bool holds_log(const std::string& folder) {
  if (!std::filesystem::exists(folder)) return false;
  const auto segments = find_segments(folder);
  if (segments.size() != 1) return !segments.empty();
  if (!is_unborn(folder, segments.front().path)) return true;
  std::filesystem::rename(segments.front().path, segments.front().path + ".torn");
  return false;
}

LogHistory read_history(const std::string& folder) {
  TrajectoryLogReader reader(folder);
  LogHistory history;
  while (const auto entry = reader.next()) std::visit(EntryTaker{history}, *entry);
  return history;
}

}  // namespace nabla
