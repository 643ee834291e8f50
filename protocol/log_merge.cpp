#include "protocol/log_merge.h"

#include "common/error.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace nabla {

namespace {

// Everything that several logs hold; records are views of their files.
struct MergedContent {
  using RecordKey = std::tuple<std::int64_t, std::int64_t, TicketKind, std::int64_t>;  // update, slot, kind, version
  std::optional<LogHeader> header;
  std::map<RecordKey, EncodedRecord> records;
  std::map<std::int64_t, std::string> published;
  std::map<std::int64_t, std::map<std::int64_t, DiscardEntry>> discards;  // update, slot
  std::map<std::int64_t, std::set<std::int64_t>> trained;
};

class Merger {
 public:
  explicit Merger(const RecordFilter& filter) : filter_(filter) {}

  void read(const std::string& folder) {
    folder_ = folder;
    TrajectoryLogReader reader(folder);
    while (const auto entry = reader.next()) std::visit([&](const auto& content) { add(content); }, *entry);
  }

  LogMerge write(const std::string& target) {
    if (content_.records.empty()) throw data_error("[log] none of the {} records passes the filter; nothing was written", merge_.left_out);
    merge_.is_run = filter_.passes_all();
    LogHeader header = *content_.header;
    if (!merge_.is_run) header.weights_contract = "part of " + header.weights_contract;
    TrajectoryLogOptions options;
    options.folder = target;
    log_ = TrajectoryLog::create(options, header);
    for (const std::int64_t update : updates()) write_update(update);
    publish_up_to(std::numeric_limits<std::int64_t>::max());
    log_->close();
    return merge_;
  }

 private:
  void add(const LogHeader& header) {
    if (!content_.header) {
      content_.header = header;
      first_folder_ = folder_;
    }
    const LogHeader& first = *content_.header;
    if (header.run_id == first.run_id && header.weights_contract == first.weights_contract) return;
    throw data_error("[log] '{}' is of run {} with weights contract {}, '{}' of run {} with {}; only logs of one run can be merged",
                     folder_, header.run_id, header.weights_contract, first_folder_, first.run_id, first.weights_contract);
  }

  void add(const EncodedRecord& encoded) {
    const DecodeResult decoded = decode_record(encoded, {.check_crc = false, .check_finite = false});
    const RecordHeader& header = decoded.record.header;
    if (decoded.reject != Reject::kNone)
      throw data_error("[log] '{}' holds a record that is refused: {} ({})", folder_, name_of(decoded.reject), decoded.reason);
    // A relabel record replaces tensors of the run's training, so it belongs to the whole run only.
    const bool is_meant = filter_.passes_all() || (header.kind == TicketKind::kSample && filter_.passes(header));
    if (!is_meant) {
      ++merge_.left_out;
      return;
    }
    // Of a sample there is one; a relabel record is one of its version.
    const std::int64_t version = header.kind == TicketKind::kRelabel ? header.version : 0;
    if (!content_.records.try_emplace({header.update, header.slot, header.kind, version}, encoded).second) ++merge_.duplicates;
  }

  void add(const PublishEntry& entry) {
    const auto [known, is_new] = content_.published.try_emplace(entry.version, entry.digest);
    if (is_new || known->second == entry.digest) return;
    throw data_error("[log] '{}' publishes version {} with digest {}, a log before it with {}; they are not of one course of training",
                     folder_, entry.version, entry.digest, known->second);
  }

  void add(const DiscardEntry& entry) { content_.discards[entry.update].try_emplace(entry.slot, entry); }
  void add(const TrainedEntry& entry) { content_.trained[entry.update].insert(entry.slots.begin(), entry.slots.end()); }

  std::set<std::int64_t> updates() const {
    std::set<std::int64_t> updates;
    for (const auto& [key, record] : content_.records) updates.insert(std::get<0>(key));
    if (!merge_.is_run) return updates;
    for (const auto& [update, discards] : content_.discards) updates.insert(update);
    for (const auto& [update, slots] : content_.trained) updates.insert(update);
    return updates;
  }

  void publish_up_to(std::int64_t version) {
    auto& published = content_.published;
    while (!published.empty() && published.begin()->first <= version) {
      log_->append(PublishEntry{published.begin()->first, published.begin()->second});
      published.erase(published.begin());
    }
  }

  // Version u is what update u starts from.
  void write_update(std::int64_t update) {
    publish_up_to(update);
    ++merge_.updates;
    const auto begin = content_.records.lower_bound({update, std::numeric_limits<std::int64_t>::min(), TicketKind::kSample, 0});
    for (auto record = begin; record != content_.records.end() && std::get<0>(record->first) == update; ++record) {
      log_->append(record->second);
      ++merge_.records;
    }
    if (!merge_.is_run) return;
    for (const auto& [slot, discard] : content_.discards[update]) {
      log_->append(discard);
      ++merge_.discards;
    }
    const auto& slots = content_.trained[update];
    if (!slots.empty()) log_->append(TrainedEntry{update, {slots.begin(), slots.end()}});
  }

  const RecordFilter& filter_;
  std::string folder_, first_folder_;
  MergedContent content_;
  LogMerge merge_;
  std::unique_ptr<TrajectoryLog> log_;
};

}  // namespace

bool RecordFilter::passes_all() const { return !versions && !updates && !slots && !rewards && actor.empty() && prompt.empty(); }

bool RecordFilter::passes(const RecordHeader& header) const {
  return (!versions || versions->holds(header.version)) && (!updates || updates->holds(header.update)) &&
         (!slots || slots->holds(header.slot)) && (!rewards || rewards->holds(header.reward)) &&
         (actor.empty() || header.actor_id == actor) && (prompt.empty() || header.prompt.find(prompt) != std::string::npos);
}

LogMerge merge_logs(const std::vector<std::string>& folders, const std::string& target, const RecordFilter& filter) {
  Merger merger(filter);
  for (const std::string& folder : folders) merger.read(folder);
  return merger.write(target);
}

}  // namespace nabla
