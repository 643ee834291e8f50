#include "learner/version_journal.h"

namespace nabla {

void VersionJournal::publish(std::int64_t version, const std::string& digest) {
  const std::lock_guard lock(mutex_);
  digests_[version] = digest;
}

std::optional<std::string> VersionJournal::digest_of(std::int64_t version) const {
  const std::lock_guard lock(mutex_);
  const auto found = digests_.find(version);
  if (found == digests_.end()) return std::nullopt;
  return found->second;
}

std::pair<std::int64_t, std::string> VersionJournal::newest() const {
  const std::lock_guard lock(mutex_);
  if (digests_.empty()) return {-1, ""};
  return *digests_.rbegin();
}

}  // namespace nabla
