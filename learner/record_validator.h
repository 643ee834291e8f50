#pragma once

#include "common/config/record_needs.h"
#include "learner/slot_plan.h"
#include "learner/trajectory_queue.h"
#include "learner/version_journal.h"
#include "protocol/record.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace nabla {

// What the records of one run have in common.
struct RecordRules {
  std::string run_id;  // live: this run's; replay: the log's
  std::string step_table_id;
  std::vector<TransitionRef> steps;         // the whole step table
  std::vector<std::int64_t> latent_shape;   // [C,h,w]
  RecordNeeds needs;                        // gradient kind and tensors
  std::int64_t tokens = 0, vocabulary = 0;  // of the text encoder
  RecordLimits limits;
};

struct Verdict {
  Reject reject = Reject::kNone;
  std::string reason;   // for people
  SharedRecord record;  // never null; empty when refused, but for values that are not finite
};

// The one validator of live and replayed records. Only the state of slots and tickets is checked elsewhere. Thread safe; `plan` and `journal` must
// outlive it.
class RecordValidator {
 public:
  RecordValidator(RecordRules rules, const SlotPlan& plan, const VersionJournal& journal);
  Verdict validate(const EncodedRecord& encoded) const;

 private:
  RecordRules rules_;
  const SlotPlan& plan_;
  const VersionJournal& journal_;
};

}  // namespace nabla
