#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <set>

using namespace nabla;

namespace {

namespace fs = std::filesystem;

std::string last_segment(const std::string& rank_folder) {
  std::set<std::string> segments;
  for (const auto& entry : fs::directory_iterator(rank_folder)) segments.insert(entry.path().string());
  REQUIRE_FALSE(segments.empty());
  return *segments.rbegin();
}

double seconds_since_last_write(const std::string& path) {
  return std::chrono::duration<double>(fs::file_time_type::clock::now() - fs::last_write_time(path)).count();
}

// Whatever the run trained on, and so acknowledged, stands in the log.
void check_nothing_lost(const std::string& run, const LogContent& log) {
  std::set<std::int64_t> logged;
  for (const auto& record : log.records) logged.insert(record.slot);
  const std::int64_t updates = updates_done(run);
  CHECK(updates >= 2);
  for (std::int64_t slot = 0; slot < updates * kSlots; ++slot) CHECK(logged.contains(slot));
}

std::string in_shell(const std::vector<std::string>& words) {
  std::string line;
  for (const auto& word : words) line += " '" + word + "'";
  return line;
}

// True where this process may mount a file system of its own.
bool may_mount() {
  return ::geteuid() == 0 && Process({"/bin/sh", "-c", "exec unshare -m mount -t tmpfs -o size=1m none /mnt"}).wait().exit == 0;
}

// A run on a small file system of its own, which goes with the shell's name space; so the run is copied out of it.
Outcome train_on_small_disk(const Runs& runs, const std::vector<std::string>& settings) {
  const std::string small = runs.folder("small");
  fs::create_directories(small);
  const std::string script = "mount -t tmpfs -o size=2m none '" + small + "' &&" + in_shell(runs.command("train", "small/run", settings)) +
                             "; code=$?; cp -a '" + small + "/run' '" + runs.folder("kept") + "'; exit $code";
  return Process({"/bin/sh", "-c", "exec unshare -m /bin/sh -c \"$0\"", script}).wait();
}

}  // namespace

TEST_CASE("a log that cannot grow ends the run at once and keeps what was acknowledged") {
  const Runs runs;
  const std::string run = runs.folder("run"), log_folder = run + "/queue/rank-0";
  const Outcome outcome =
      Process({"/bin/sh", "-c", "ulimit -f 1024; exec" + in_shell(runs.command("train", "run", {kEndless, "checkpoint.every=0"}))}).wait();
  const double seconds = seconds_since_last_write(last_segment(log_folder));
  INFO(outcome.output);
  CHECK(outcome.exit == 1);
  CHECK(is_prompt(seconds));
  CHECK(outcome.says(log_folder + "/q-"));
  CHECK(outcome.says("Free some space"));

  const LogContent log = read_log(log_folder);
  check_nothing_lost(run, log);
  const auto summary = summary_of(run);
  CHECK(summary.at("exit_reason").get<std::string>().starts_with("failed: "));
  CHECK(summary.at("ledger").at("residual") == 0);
  // Acknowledgements are of records and of evaluations; exactly the records stand in the log.
  const auto count = [&](const char* name) { return summary.at("counters").at(name).get<std::size_t>(); };
  CHECK(count("acks") == log.records.size() + count("evaluations"));
}

TEST_CASE("a full file system under the whole run folder ends the run at once with the reason") {
  if (!may_mount()) {
    MESSAGE("skipped: this process may not mount a file system");
    return;
  }
  const Runs runs;
  const Outcome outcome = train_on_small_disk(runs, {kEndless, "checkpoint.every=0"});
  const std::string log_folder = runs.folder("kept") + "/queue/rank-0";
  const double seconds = seconds_since_last_write(last_segment(log_folder));
  INFO(outcome.output);
  CHECK(outcome.exit == 1);
  CHECK(is_prompt(seconds));
  CHECK(outcome.says(runs.folder("small") + "/run/queue/rank-0/q-000000000000.seg"));
  CHECK(outcome.says("the disk is full"));
  check_nothing_lost(runs.folder("kept"), read_log(log_folder));
  // In the room that was kept for it.
  CHECK(outcome.says("the last checkpoint, of update"));
  const auto updates = summary_of(runs.folder("kept")).at("updates").get<std::int64_t>();
  CHECK(exists(runs.folder("kept") + fmt::format("/checkpoints/update-{:06}/COMPLETE", updates)));
}

TEST_CASE("a checkpoint that finds the disk full ends the run with the reason; those before it stay, and the run goes on elsewhere") {
  if (!may_mount()) {
    MESSAGE("skipped: this process may not mount a file system");
    return;
  }
  const Runs runs;
  const std::string kept = runs.folder("kept");
  const Outcome outcome = train_on_small_disk(runs, {kEndless, "checkpoint.every=1", "checkpoint.keep=1000"});
  INFO(outcome.output);
  CHECK(outcome.exit == 1);
  CHECK(outcome.says("/run/checkpoints/update-"));
  CHECK(outcome.says("the disk is full"));
  CHECK(exists(kept + "/checkpoints/update-000001/COMPLETE"));
  const std::int64_t updates = updates_done(kept);
  const Outcome further = run_nabla({"train", "--resume", kept, fmt::format("training.updates={}", updates + 2)});
  INFO(further.output);
  CHECK(further.exit == 0);
  CHECK(summary_of(kept).at("updates") == updates + 2);
}
