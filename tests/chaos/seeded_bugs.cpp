#include "tests/chaos/seeded_bugs.h"

#include <algorithm>

namespace nabla::chaos {

std::vector<SeededBug> seeded_bugs() {
  const auto small = [](const std::string& name) { return scenario_named(name, Size::kSmall); };
  Scenario failed_swap = small("undisturbed");
  failed_swap.actor_failpoint = "actor.mid_swap:2:error";
  failed_swap.actors = 1;  // who will have another ticket of that version
  Scenario after_ack = small("failpoint:learner.after_ack"), after_receive = small("failpoint:learner.after_receive");
  // Killed when the acknowledgement before has had time to arrive.
  after_ack.learner_failpoint = "learner.after_ack:37:delay:500,learner.after_ack:38";
  after_receive.learner_failpoint = "learner.after_ack:38:delay:500,learner.after_receive:39";
  // With the bug, what must happen cannot.
  Scenario liar = small("liar"), disk_full = small("disk_full");
  for (Scenario* scenario : {&liar, &disk_full}) scenario->must = scenario->first = {};
  liar.actors = 1;
  return {
      {"actor.swap_before_verify",
       "an actor takes new weights for installed before they are; then the installation fails",
       failed_swap,
       {"wrong_content"}},
      {"checkpoint.cursor_ahead",
       "the checkpoint names an update more than was trained",
       small("failpoint:checkpoint.after_commit"),
       {"cursor_ahead", "lost_slot"}},
      {"ingest.drop_discard", "a discarded slot is not journaled", small("kills_with_discards"), {"lost_slot", "ledger_open"}},
      {"ingest.drop_publish", "a version is announced that the journal does not know", small("undisturbed"), {"unpublished_version"}},
      {"ingest.drop_record",
       "records are acknowledged and trained, and not appended",
       small("undisturbed"),
       {"acked_missing", "trained_unlogged"}},
      {"ingest.no_dedupe", "a second record of a slot is appended too", small("late_records"), {"logged_twice"}},
      {"ingest.unjournaled_training", "an update is trained and not journaled", small("undisturbed"), {"lost_slot", "ledger_open"}},
      {"learner.train_twice",
       "a learner that starts again journals updates that it had journaled",
       small("failpoint:learner.after_trained_journal"),
       {"trained_twice"}},
      {"log.ack_before_append", "an append returns before anything is written", after_ack, {"acked_missing"}},
      {"log.ignore_full_disk", "a write that fails is taken for done", disk_full, {"acked_missing"}},
      {"log.retry_failed_sync",
       "a sync that failed is tried again on the same file, and believed",
       small("power_cut_after_sync_error"),
       {"acked_missing", "log_damaged"}},
      {"log.short_write_is_whole", "the rest of a short write is forgotten", small("short_writes"), {"log_damaged"}},
      {"queue.drop_record", "a record is lost on its way to the training loop", small("undisturbed"), {"hang"}},
      {"record.skip_crc", "the checksums of records are not compared", small("bit_flips"), {"wrong_content", "log_damaged"}},
      {"recovery.cut_last_good", "recovery cuts off one entry too many", after_receive, {"acked_missing"}},
      {"server.drop_ack", "some acknowledgements are never sent", small("undisturbed"), {"hang"}},
      {"validator.skip_digest", "the digest of the weights that a record carries is not compared", liar, {"wrong_digest"}},
  };
}

bool finds(const SeededBug& bug, const std::vector<Finding>& findings) {
  return std::ranges::any_of(findings,
                             [&](const Finding& finding) { return std::ranges::find(bug.findings, finding.kind) != bug.findings.end(); });
}

}  // namespace nabla::chaos
