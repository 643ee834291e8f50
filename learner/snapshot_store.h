#pragma once

#include "protocol/snapshot.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

namespace nabla {

// The snapshots that actors can still get. One thread at a time.
class SnapshotStore {
 public:
  // The last `keep_last` versions stay, whatever happens.
  explicit SnapshotStore(std::int64_t keep_last) : keep_last_(keep_last) {}
  void add(Snapshot snapshot);
  std::optional<Snapshot> find(std::int64_t version) const;
  std::vector<Snapshot> all() const;  // oldest first; they share their bytes
  // Forgets what is neither named nor among the last.
  void trim(const std::set<std::int64_t>& named);

 private:
  std::int64_t keep_last_;
  std::map<std::int64_t, Snapshot> snapshots_;
};

}  // namespace nabla
