#include "launch/log/log_statistics.h"

#include "common/mapped_file.h"
#include "launch/log/log_text.h"
#include "protocol/log_format.h"
#include "protocol/segment_files.h"
#include "protocol/trajectory_log.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <cmath>

namespace nabla {

namespace {

class Tally {
 public:
  explicit Tally(LogStatistics& sums) : sums_(sums) {}

  void read(const std::string& folder) {
    for (const SegmentPath& segment : segments_of(folder)) add_file(segment.path);
    TrajectoryLogReader reader(folder);
    while (const auto entry = reader.next()) std::visit([&](const auto& content) { add(content); }, *entry);
    sums_.warnings.insert(sums_.warnings.end(), reader.warnings().begin(), reader.warnings().end());
  }

 private:
  void add_file(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0) {
      const std::int64_t written = std::int64_t{status.st_mtim.tv_sec} * 1000 + status.st_mtim.tv_nsec / 1000000;
      sums_.last_unix_ms = std::max(sums_.last_unix_ms, written);
      sums_.bytes += static_cast<std::uint64_t>(status.st_size);
    }
    const MappedFile file(path);
    const SegmentHeaderCheck header = check_segment_header(file.bytes());
    const std::int64_t created = header.fields.created_unix_ms;
    if (!header.fault && (sums_.first_unix_ms == 0 || created < sums_.first_unix_ms)) sums_.first_unix_ms = created;
    sums_.last_unix_ms = std::max(sums_.last_unix_ms, sums_.first_unix_ms);  // a file's time comes from a coarser clock
    ++sums_.segments;
  }

  void add(const LogHeader& header) {
    sums_.run_id = header.run_id;
    sums_.weights_contract = header.weights_contract;
  }
  void add(const PublishEntry& entry) { sums_.published[entry.version] = entry.digest; }
  void add(const DiscardEntry& entry) { ++sums_.discards[entry.reason]; }
  void add(const TrainedEntry& entry) {
    sums_.updates = std::max(sums_.updates, entry.update + 1);
    sums_.trained += static_cast<std::int64_t>(entry.slots.size());
  }
  void add(const EncodedRecord& encoded) {
    sums_.record_bytes += encoded.header.view.size() + encoded.data.view.size();
    const DecodeResult result = decode_record(encoded, {.check_crc = false, .check_finite = false});
    if (result.reject == Reject::kNone) {
      add(result.record.header);
    } else {
      ++sums_.unreadable;
    }
  }
  void add(const RecordHeader& header) {
    ++sums_.by_version[header.version];
    ++sums_.by_actor[header.actor_id];
    if (header.kind == TicketKind::kSample) {
      add_sample(header);
    } else {
      ++sums_.relabelled;
    }
  }
  // Reward, transitions and lag of a relabel record are its sample's.
  void add_sample(const RecordHeader& header) {
    const bool is_first = sums_.samples++ == 0;
    sums_.transitions += static_cast<std::int64_t>(header.transitions.size());
    sums_.reward_sum += header.reward;
    sums_.reward_square_sum += header.reward * header.reward;
    sums_.reward_min = is_first ? header.reward : std::min(sums_.reward_min, header.reward);
    sums_.reward_max = is_first ? header.reward : std::max(sums_.reward_max, header.reward);
    const std::int64_t lag = std::max<std::int64_t>(header.update - header.version, 0);
    sums_.lag_sum += static_cast<double>(lag);
    sums_.lag_max = std::max(sums_.lag_max, lag);
  }

  LogStatistics& sums_;
};

struct Rewards {
  double mean = 0, deviation = 0, mean_lag = 0;
};

// Population deviation; 0 of a single record.
Rewards rewards_of(const LogStatistics& sums) {
  const auto count = static_cast<double>(std::max<std::int64_t>(sums.samples, 1));
  const double mean = sums.reward_sum / count;
  return {mean, std::sqrt(std::max(sums.reward_square_sum / count - mean * mean, 0.0)), sums.lag_sum / count};
}

// "3 (a 2, b 1)"
template <class Key>
std::string counts_text(const std::map<Key, std::int64_t>& counts) {
  std::string list;
  std::int64_t sum = 0;
  for (const auto& [key, count] : counts) {
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", key, count);
    sum += count;
  }
  return counts.empty() ? "0" : fmt::format("{} ({})", sum, list);
}

}  // namespace

LogStatistics statistics_of(const std::vector<std::string>& folders) {
  LogStatistics sums;
  Tally tally(sums);
  for (const auto& folder : folders) tally.read(folder);
  return sums;
}

nlohmann::ordered_json statistics_json(const LogStatistics& sums) {
  const Rewards rewards = rewards_of(sums);
  nlohmann::ordered_json versions = nlohmann::ordered_json::object(), actors = nlohmann::ordered_json::array();
  for (const auto& [version, count] : sums.by_version) versions[std::to_string(version)] = count;
  for (const auto& [actor, count] : sums.by_actor) actors.push_back(actor);
  return {{"run_id", sums.run_id},
          {"weights_contract", sums.weights_contract},
          {"segments", sums.segments},
          {"bytes", sums.bytes},
          {"first_unix_ms", sums.first_unix_ms},
          {"last_unix_ms", sums.last_unix_ms},
          {"records", sums.samples},
          {"relabelled", sums.relabelled},
          {"unreadable", sums.unreadable},
          {"record_bytes", sums.record_bytes},
          {"transitions", sums.transitions},
          {"records_by_version", versions},
          {"records_by_actor", sums.by_actor},
          {"reward_mean", rewards.mean},
          {"reward_std", rewards.deviation},
          {"reward_min", sums.reward_min},
          {"reward_max", sums.reward_max},
          {"policy_lag", {{"mean", rewards.mean_lag}, {"max", sums.lag_max}}},
          {"actors", actors},
          {"versions", sums.published.size()},
          {"last_version", sums.published.empty() ? -1 : sums.published.rbegin()->first},
          {"last_digest", sums.published.empty() ? "" : sums.published.rbegin()->second},
          {"updates", sums.updates},
          {"trained", sums.trained},
          {"discards", sums.discards},
          {"warnings", sums.warnings}};
}

std::string statistics_text(const LogStatistics& sums) {
  const Rewards rewards = rewards_of(sums);
  std::string text = fmt::format("run {}, weights contract {}\n", sums.run_id, sums.weights_contract);
  text += fmt::format("segments   {}, {}, written from {} to {} ({})\n", sums.segments, bytes_text(sums.bytes),
                      time_text(sums.first_unix_ms), time_text(sums.last_unix_ms), duration_text(sums.last_unix_ms - sums.first_unix_ms));
  text += fmt::format("records    {} samples, {} relabelled, {} unreadable; {} transitions; {}\n", sums.samples, sums.relabelled,
                      sums.unreadable, sums.transitions, bytes_text(sums.record_bytes));
  text += fmt::format("versions   {}\n", counts_text(sums.by_version));
  text += fmt::format("actors     {}\n", counts_text(sums.by_actor));
  text += fmt::format("reward     {:.4f} +- {:.4f}, from {:.4f} to {:.4f}\n", rewards.mean, rewards.deviation, sums.reward_min,
                      sums.reward_max);
  text += fmt::format("policy lag {:.2f} on average, {} at most\n", rewards.mean_lag, sums.lag_max);
  text += fmt::format("published  {} versions", sums.published.size());
  if (!sums.published.empty())
    text += fmt::format(", the last {} with digest {}", sums.published.rbegin()->first, sums.published.rbegin()->second);
  text += fmt::format("\ntrained    {} updates of {} slots\ndiscarded  {}\n", sums.updates, sums.trained, counts_text(sums.discards));
  for (const auto& warning : sums.warnings) text += fmt::format("warning: {}\n", warning);
  return text;
}

}  // namespace nabla
