#pragma once

#include "protocol/trajectory_log.h"
#include "tests/common/temporary_folder.h"
#include "tests/fleet/process.h"

#include <nlohmann/json.hpp>

#include <set>
#include <string>
#include <vector>

namespace nabla {

// What all runs here share: four slots an update, one a ticket, so that four actors can work at once; three rows a slot.
inline constexpr std::int64_t kUpdates = 10, kSlots = 4, kRows = 3;

// More updates than any test waits for.
inline constexpr const char* kEndless = "training.updates=5000";

// The tiny model of the whole executable, made when it is first asked for.
const std::string& tiny_model();

// A folder for runs that one test makes, with tiny.yaml in it.
class Runs {
 public:
  Runs();
  std::string folder(const std::string& name) const { return folder_.file(name); }
  // `nabla train` or `nabla learner` with tiny.yaml, this run folder and these settings on top.
  std::vector<std::string> command(const std::string& role, const std::string& name, const std::vector<std::string>& settings = {}) const;

 private:
  TemporaryFolder folder_;
};

std::vector<std::string> actor_command(const std::string& connect, const std::string& id, const std::vector<std::string>& settings = {});

nlohmann::ordered_json summary_of(const std::string& run);
std::string weights_of(const std::string& run);  // digest in summary.json
std::vector<nlohmann::ordered_json> metrics_of(const std::string& run);
// Updates trained so far, by the lines of metrics.jsonl; 0 while there is no file.
std::int64_t updates_done(const std::string& run);
// status.json of a run that may just be starting: empty if there is none.
nlohmann::ordered_json status_of(const std::string& run);
bool exists(const std::string& path);

// All entries of a run's log, decoded; fails the test on a record that does not pass its checks.
struct LogContent {
  LogHeader header;
  std::vector<EncodedRecord> encoded;
  std::vector<RecordHeader> records;
  std::vector<PublishEntry> published;
  std::vector<TrainedEntry> trained;
  std::vector<DiscardEntry> discarded;
  std::vector<std::string> warnings;
};
LogContent read_log(const std::string& rank_folder);
// Who sampled the trajectories of a log.
std::set<std::string> actors_in(const LogContent& log);

// The undisturbed lockstep run with two actors that others are compared with, made once.
struct ReferenceRun {
  std::string folder;
  Outcome outcome;
};
const ReferenceRun& reference_run();

}  // namespace nabla
