#include "protocol/quarantine.h"

#include <algorithm>

namespace nabla {

namespace {

constexpr std::size_t kMaxRecords = 8192;

// A second that has begun counts.
std::chrono::seconds rounded_up(std::chrono::steady_clock::duration time) { return std::chrono::ceil<std::chrono::seconds>(time); }

}  // namespace

bool Quarantine::charge(const std::string& peer, Fault fault, Time now, double share) {
  if (records_.size() >= kMaxRecords && !records_.contains(peer)) drop_harmless(now);
  const auto [found, is_new] =
      records_.try_emplace(peer, Record{{share * rules_.faults, now}, {share * rules_.damaged, now}, rules_.first, now});
  Record& record = found->second;
  if (record.until > now) return false;
  const bool content = fault == Fault::kContent;
  Bucket& bucket = content ? record.faults : record.damaged;
  const double capacity = share * (content ? rules_.faults : rules_.damaged),
               per_s = share * (content ? rules_.faults_per_s : rules_.damaged_per_s);
  bucket.level = std::min(capacity, bucket.level + per_s * std::chrono::duration<double>(now - bucket.at).count()) - 1;
  bucket.at = now;
  if (bucket.level >= 0) return false;
  record.until = now + record.next;
  record.next = std::min(record.next * 2, rules_.longest);
  record.faults = {share * rules_.faults, record.until};
  record.damaged = {share * rules_.damaged, record.until};
  return true;
}

std::chrono::seconds Quarantine::left(const std::string& peer, Time now) const {
  const auto found = records_.find(peer);
  return found == records_.end() || found->second.until <= now ? std::chrono::seconds(0) : rounded_up(found->second.until - now);
}

// Makes room: forgets those that are not turned away, and if there are none, everybody.
void Quarantine::drop_harmless(Time now) {
  std::erase_if(records_, [now](const auto& item) { return item.second.until <= now; });
  if (records_.size() >= kMaxRecords) records_.clear();
}

}  // namespace nabla
