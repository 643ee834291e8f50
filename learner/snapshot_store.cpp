#include "learner/snapshot_store.h"

#include <iterator>

namespace nabla {

void SnapshotStore::add(Snapshot snapshot) {
  const std::int64_t version = snapshot.version;
  snapshots_.insert_or_assign(version, std::move(snapshot));
}

std::optional<Snapshot> SnapshotStore::find(std::int64_t version) const {
  const auto found = snapshots_.find(version);
  if (found == snapshots_.end()) return std::nullopt;
  return found->second;
}

std::vector<Snapshot> SnapshotStore::all() const {
  std::vector<Snapshot> snapshots;
  for (const auto& [version, snapshot] : snapshots_) snapshots.push_back(snapshot);
  return snapshots;
}

void SnapshotStore::trim(const std::set<std::int64_t>& named) {
  auto left = static_cast<std::int64_t>(snapshots_.size());
  for (auto it = snapshots_.begin(); it != snapshots_.end() && left > keep_last_; --left) {
    it = named.contains(it->first) ? std::next(it) : snapshots_.erase(it);
  }
}

}  // namespace nabla
