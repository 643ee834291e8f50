#include "tests/chaos/run_commands.h"

#include <fmt/format.h>

#include <array>

namespace nabla::chaos {

namespace {

// How often a place is reached for certain, where it is more often than twice: in 400 slots, or in 50 tickets of one actor.
constexpr std::array<std::pair<std::string_view, std::uint64_t>, 7> kOften{{{"actor.before_delivery", 40},
                                                                            {"actor.mid_record", 60},
                                                                            {"learner.after_ack", 60},
                                                                            {"learner.after_receive", 60},
                                                                            {"learner.before_ack", 60},
                                                                            {"log.before_sync", 20},
                                                                            {"log.mid_append", 60}}};

// "place" gets the number of times that the place is reached before it acts, from the seed; "place:..." has it already.
std::string counted(const std::string& failpoint, std::uint64_t seed) {
  if (failpoint.empty() || failpoint.find(':') != std::string::npos) return failpoint;
  std::uint64_t often = 2;
  for (const auto& [place, times] : kOften)
    if (place == failpoint) often = times;
  return fmt::format("{}:{}", failpoint, 1 + seed * 37 % often);
}

void add_faults(ChildCommand& command, const ChaosOptions& options, const std::string& failpoint) {
  std::string text = options.bug.empty() ? "" : fmt::format("bug:{}", options.bug);
  if (!failpoint.empty()) text += fmt::format("{}{}", text.empty() ? "" : ",", counted(failpoint, options.seed));
  if (!text.empty()) command.arguments.insert(command.arguments.end(), {"--failpoint", text});
}

void add_clock(ChildCommand& command, const Scenario& scenario, const ChaosOptions& options) {
  if (scenario.clock_jumps)
    command.environment = {{"LD_PRELOAD", options.clock_shim}, {"NABLA_CLOCK_MET", fmt::format("{}/shims.txt", options.folder)}};
}

void add_disk(ChildCommand& command, const Scenario& scenario, const ChaosOptions& options, std::int64_t start) {
  if (scenario.disk_fault.empty() && !scenario.power_cuts) return;
  command.environment = {{"LD_PRELOAD", options.disk_shim}, {"NABLA_DISK_FOLDER", fmt::format("{}/log", options.folder)}};
  if (start == 0) command.environment.emplace_back("NABLA_DISK_FAULT", scenario.disk_fault);
  if (start == 0) command.environment.emplace_back("NABLA_DISK_MET", fmt::format("{}/shims.txt", options.folder));
  if (scenario.power_cuts) command.environment.emplace_back("NABLA_DISK_NOTES", fmt::format("{}/notes", options.folder));
}

}  // namespace

ChildCommand learner_command(const Scenario& scenario, const ChaosOptions& options, const FaultyLink& link, const RunPorts& ports,
                             Pace pace, std::int64_t start) {
  ChildCommand command;
  command.arguments = {options.program,  "learner",
                       "--run",          options.folder,
                       "--shape",        text_of(scenario.shape),
                       "--control",      link.learner_address(ports.control),
                       "--weights",      link.learner_address(ports.weights),
                       "--durability",   scenario.durability == Durability::kFsync ? "fsync" : "pagecache",
                       "--train-ms",     std::to_string(scenario.train_time.count()),
                       "--heartbeat-ms", std::to_string(scenario.heartbeat.count())};
  if (const auto announced = link.announced_weights(); !announced.empty())
    command.arguments.insert(command.arguments.end(), {"--announce", announced});
  if (pace == Pace::kHeld) command.arguments.push_back("--hold");
  add_faults(command, options, start == 0 ? scenario.learner_failpoint : "");
  add_clock(command, scenario, options);
  add_disk(command, scenario, options, start);
  command.output_file = fmt::format("{}/learner.txt", options.folder);
  return command;
}

ChildCommand actor_command(const Scenario& scenario, const ChaosOptions& options, const FaultyLink& link, std::size_t number,
                           std::int64_t start) {
  const std::string id = scenario.twins && number < 2 ? "twin" : fmt::format("a{}-{}", number, start);
  ChildCommand command;
  command.arguments = link.prefix();
  const auto words = {options.program,
                      std::string("actor"),
                      std::string("--connect"),
                      link.control_address(),
                      std::string("--id"),
                      id,
                      std::string("--acks"),
                      acks_path(options, number, start),
                      std::string("--heartbeat-ms"),
                      std::to_string(scenario.heartbeat.count())};
  command.arguments.insert(command.arguments.end(), words.begin(), words.end());
  if (scenario.liar && number == 0) command.arguments.push_back("--lies");
  if (scenario.foreigner && number == 0)
    command.arguments.insert(command.arguments.end(), {"--protocol", std::to_string(kProtocolVersion + 1)});
  add_faults(command, options, number == 0 && (start == 0 || scenario.actor_failpoint_stays) ? scenario.actor_failpoint : "");
  add_clock(command, scenario, options);
  command.output_file = fmt::format("{}/actors.txt", options.folder);
  return command;
}

std::string acks_path(const ChaosOptions& options, std::size_t number, std::int64_t start) {
  return fmt::format("{}/acks/{}-{}", options.folder, number, start);
}

}  // namespace nabla::chaos
