#include "learner/foreign_rules.h"

#include "learner/saved_trajectories.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/learner_core/fixture.h"

using namespace nabla;
using namespace nabla::testing;

namespace {

// A configuration that takes nothing from a record that a policy decided.
RunConfig free_config(const std::vector<std::string>& assignments = {}) {
  RunConfig config = small_config();
  const auto fields = fields_of(config);
  for (const auto* assignment : {"model.gradient=reference_fl", "model.reverse_target=true_gradient", "model.unet_reg_anchor=previous"})
    apply_assignment(fields, assignment);
  for (const auto& assignment : assignments) apply_assignment(fields, assignment);
  return config;
}

ForeignLog log_of(const RunConfig& config, const std::string& relabelled_with = {}) {
  return {"/logs/old", {"old-run", "contract", "", "base-1", relabelled_with}, config};
}

template <class... Parts>
void check_refused(const RunConfig& own, const ForeignLog& log, const Parts&... parts) {
  check_error(
      ExitCode::kUsage, [&] { require_usable(own, "base-1", log); }, "foreign", "old-run", "nabla relabel /logs/old", parts...);
}

}  // namespace

TEST_CASE("a foreign log is trained on where no policy decides what is taken from it") {
  for (const auto* gradient : {"model.gradient=terminal", "model.gradient=reference_fl", "model.gradient=lean_adjoint"}) {
    const RunConfig theirs = free_config({gradient});
    // Optimiser, seed and size of an update are this run's own affair.
    CHECK_NOTHROW(require_usable(free_config({gradient, "training.lr=1e-5", "seed=9", "training.batch_size=2", "fleet.ticket_size=2"}),
                                 "base-1", log_of(theirs)));
  }
  CHECK_NOTHROW(
      require_usable(free_config({"model.unet_reg_anchor=behaviour", "model.unet_reg_scale=0"}), "base-1", log_of(free_config())));
  CHECK_NOTHROW(require_usable(free_config({"model.no_flow=true", "model.reverse_loss_scale=0", "model.reverse_target=official"}), "base-1",
                               log_of(free_config())));
}

TEST_CASE("what the policy of the old run decided is refused, with the way out") {
  const RunConfig theirs = small_config();
  check_refused(small_config(), log_of(theirs), "reward_grad_y, reward_grad_x", "reverse_score_policy", "true_gradient");
  check_refused(free_config({"model.unet_reg_anchor=behaviour", "model.unet_reg_scale=2000"}), log_of(free_config()),
                "copy that run's policy", "previous");
  check_refused(free_config({"model.reverse_target=rao_blackwell"}), log_of(free_config({"model.reverse_target=rao_blackwell"})),
                "reverse_rao_blackwell");
  const std::vector<std::string> ddpo{"experiment.method=DDPO", "model.gradient=policy_fl", "model.reverse_target=official"};
  check_refused(free_config(ddpo), log_of(free_config(ddpo)), "DDPO");
  check_refused(free_config({"fleet.relabel_before_update=true"}), log_of(free_config()), "needs actors");
}

TEST_CASE("records that mean something else here are refused") {
  const RunConfig own = free_config();
  ForeignLog other_base = log_of(own);
  other_base.header.base_digest = "base-2";
  check_refused(own, other_base, "base-1", "base-2");
  other_base.header.base_digest = "";
  check_refused(own, other_base, "unknown");
  check_refused(own, log_of(free_config({"sampling.guidance_scale=7"})), "sampling.guidance_scale is '7' in the log and '5' here");
  check_refused(own, log_of(free_config({"experiment.reward_fn=lantern"})), "experiment.reward_fn");
  check_refused(own, log_of(free_config({"model.timestep_fraction=0.2"})), "other transitions");
  check_refused(own, log_of(free_config({"model.gradient=terminal"})), "of kind terminal", "of kind reference_fl");
  check_refused(own, log_of(free_config({"model.no_flow=true", "model.reverse_loss_scale=0", "model.reverse_target=official"})),
                "no reward_grad_x, reverse_score_reference");
}

TEST_CASE("a log that was relabelled for a configuration is trained on with all of it") {
  CHECK_NOTHROW(require_usable(small_config(), "base-1", log_of(small_config(), "weights")));
  check_refused(small_config(), log_of(free_config(), "weights"), "reverse_score_policy");
}

namespace {

std::vector<SharedRecord> read_back(const std::vector<LogEntry>& entries, const RecordRules& rules = small_rules()) {
  const TemporaryFolder folder;
  TrajectoryLogOptions options;
  options.folder = folder.file("rank-0");
  const auto log = TrajectoryLog::create(options, {"run-1", "contract", "seed: 7\n"});
  for (const auto& entry : entries) log->append(entry);
  log->close();
  TrajectoryLogReader reader(options.folder);
  reader.next();
  return read_trajectories(reader, rules);
}

std::vector<std::int64_t> slots_of(const std::vector<SharedRecord>& records) {
  std::vector<std::int64_t> slots;
  for (const auto& record : records) slots.push_back(record->header.slot);
  return slots;
}

}  // namespace

TEST_CASE("saved trajectories come in slot order, without discarded slots and relabel records, and are numbered anew") {
  const SlotPlan plan = make_plan(small_config());
  const auto records =
      read_back({make_record(plan, 9), make_record(plan, 3, {.version = 5}), PublishEntry{1, "digest-1"}, make_record(plan, 4),
                 make_relabel(plan, 3), DiscardEntry{4, 0, "non_finite: relabelled"}, TrainedEntry{0, {3}}});
  CHECK(slots_of(records) == std::vector<std::int64_t>{3, 9});
  const auto anew = numbered_anew(records, 2);
  CHECK(slots_of(anew) == std::vector<std::int64_t>{0, 1});
  CHECK(anew[1]->header.update == 0);
  CHECK(anew[0]->header.version == 0);  // version 5 was another run's
  CHECK(std::ranges::equal(anew[0]->encoded.data.view, records[0]->encoded.data.view));
}

TEST_CASE("a saved record that does not fit is named with its slot") {
  const SlotPlan plan = make_plan(small_config());
  const auto check = [&](const LogEntry& entry, const RecordRules& rules, const char* part) {
    check_error(
        ExitCode::kData, [&] { read_back({entry}, rules); }, "slot 3", part);
  };
  check(make_record(plan, 3, {.without = "eps_reference"}), small_rules(), "eps_reference");
  check(make_record(plan, 3, {.channels = 2}), small_rules(), "shape");
  RecordRules rules = small_rules();
  rules.step_table_id = "table-2";
  check(make_record(plan, 3), rules, "table-2");
  rules = small_rules();
  rules.vocabulary = 2;
  check(make_record(plan, 3), rules, "vocabulary of 2");
  rules = small_rules();
  rules.needs.gradient_kind = "terminal";
  check(make_record(plan, 3), rules, "gradient kind");
  CHECK(read_back({make_record(plan, 3, {.extra = "extra"})}).size() == 1);
}
