#include "learner/ledger.h"

#include <limits>

namespace nabla {

std::int64_t LedgerSummary::residual() const {
  std::int64_t known = trained + outstanding;
  for (const auto& [reason, count] : discarded) known += count;
  return issued - known;
}

void DiscardCount::add(const DiscardEntry& entry) { ++by_update_[entry.update][entry.reason.substr(0, entry.reason.find(':'))]; }

void DiscardCount::add_before(const std::map<std::string, std::int64_t>& by_reason) { by_update_[-1] = by_reason; }

std::map<std::string, std::int64_t> DiscardCount::by_reason() const { return by_reason_before(std::numeric_limits<std::int64_t>::max()); }

std::map<std::string, std::int64_t> DiscardCount::by_reason_before(std::int64_t update) const {
  std::map<std::string, std::int64_t> sum;
  for (auto it = by_update_.begin(); it != by_update_.lower_bound(update); ++it) {
    for (const auto& [reason, count] : it->second) sum[reason] += count;
  }
  return sum;
}

}  // namespace nabla
