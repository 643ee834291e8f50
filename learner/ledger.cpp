#include "learner/ledger.h"

namespace nabla {

std::int64_t LedgerSummary::residual() const {
  std::int64_t known = trained + outstanding;
  for (const auto& [reason, count] : discarded) known += count;
  return issued - known;
}

void DiscardCount::add(const DiscardEntry& entry) { ++by_reason_[entry.reason.substr(0, entry.reason.find(':'))]; }

}  // namespace nabla
