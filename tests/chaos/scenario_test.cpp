#include "tests/chaos/chaos_run.h"
#include "tests/chaos/seeded_bugs.h"
#include "tests/common/temporary_folder.h"
#include "tests/testing.h"

#include <cstdint>
#include <functional>

using namespace nabla;
using namespace nabla::chaos;

namespace {

ChaosOutcome outcome_of(const Scenario& scenario, const std::string& bug = "", std::uint64_t seed = 3) {
  const TemporaryFolder folder;
  ChaosOptions options;
  options.program = NABLA_CHAOS;
  options.disk_shim = NABLA_DISK_SHIM;
  options.clock_shim = NABLA_CLOCK_SHIM;
  options.folder = folder.file("run");
  options.seed = seed;
  options.bug = bug;
  if (!bug.empty()) options.hang_s = kBugHangS;
  return run_chaos(scenario, options);
}

void check_survived(const std::function<bool(const std::string&)>& is_meant) {
  for (const Scenario& scenario : scenarios(Size::kSmall)) {
    if (!is_meant(scenario.name)) continue;
    const ChaosOutcome outcome = outcome_of(scenario);
    if (!outcome.skipped.empty()) {
      MESSAGE(scenario.name, " skipped: ", outcome.skipped);
      continue;
    }
    INFO(scenario.name, ": ", scenario.what);
    for (const Finding& finding : outcome.findings) MESSAGE(scenario.name, ": ", finding.kind, ": ", finding.text);
    CHECK(outcome.findings.empty());
    CHECK(outcome.check.ledger.residual() == 0);
    CHECK(outcome.check.ledger.issued == scenario.shape.slots);
  }
}

bool is_failpoint(const std::string& name) { return name.starts_with("failpoint:"); }

}  // namespace

TEST_CASE("nothing is lost whatever happens to processes, links and disks") {
  check_survived([](const std::string& name) { return !is_failpoint(name); });
}

TEST_CASE("nothing that was acknowledged is lost at any failpoint") { check_survived(is_failpoint); }

// Whether a bug shows is a matter of which message meets which: on a busy machine it may take more than one run.
TEST_CASE("the harness finds every seeded bug") {
  for (const SeededBug& bug : seeded_bugs()) {
    bool found = false;
    for (std::uint64_t seed = 3; seed < 8 && !found; ++seed) {
      const ChaosOutcome outcome = outcome_of(bug.scenario, bug.name, seed);
      found = std::ranges::any_of(
          outcome.findings, [&](const Finding& finding) { return std::ranges::find(bug.findings, finding.kind) != bug.findings.end(); });
    }
    CHECK_MESSAGE(found, bug.name, ": ", bug.what);
  }
}
