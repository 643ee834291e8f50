#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace nabla {

// The weight versions that were published, and their digests. Thread safe.
class VersionJournal {
 public:
  void publish(std::int64_t version, const std::string& digest);
  std::optional<std::string> digest_of(std::int64_t version) const;
  // The newest version and its digest; {-1, ""} before the first.
  std::pair<std::int64_t, std::string> newest() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::int64_t, std::string> digests_;  // guarded by mutex_
};

}  // namespace nabla
