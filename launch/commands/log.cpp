#include "common/error.h"
#include "launch/command.h"
#include "launch/commands/log_sources.h"
#include "launch/log/filter_options.h"
#include "launch/log/log_statistics.h"
#include "launch/log/log_text.h"
#include "launch/log/record_output.h"
#include "launch/log/segment_list.h"
#include "protocol/log_trim.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <filesystem>
#include <memory>

namespace nabla {

namespace {

using Json = nlohmann::ordered_json;

struct LogCommand {
  std::vector<std::string> sources;  // run folders or log folders
  std::shared_ptr<FilterOptions> filter;
  std::string out, tensors;
  std::int64_t before = 0;
  bool json = false, journal = false, dry_run = false;
};

// The log folders that are meant.
std::vector<std::string> logs_in(const LogCommand& command) { return logs_of(command.sources, "log"); }

void print_json(const Json& json, int indent = 2) { std::puts(json.dump(indent, ' ', false, Json::error_handler_t::replace).c_str()); }

// One JSON object with a log folder for a key, or the texts one below the other.
template <class ToJson, class ToText>
void print_each(const LogCommand& command, ToJson to_json, ToText to_text) {
  Json all = Json::object();
  for (const auto& folder : logs_in(command)) {
    if (command.json) {
      all[folder] = to_json(folder);
    } else {
      std::fputs(fmt::format("{}\n{}", folder, to_text(folder)).c_str(), stdout);
    }
  }
  if (command.json) print_json(all);
}

int list_logs(const LogCommand& command) {
  print_each(
      command, [](const auto& folder) { return segments_json(list_segments(folder)); },
      [](const auto& folder) { return segments_text(list_segments(folder)); });
  return 0;
}

int count_entries(const LogCommand& command) {
  const LogStatistics statistics = statistics_of(logs_in(command));
  if (command.json) {
    print_json(statistics_json(statistics));
  } else {
    std::fputs(statistics_text(statistics).c_str(), stdout);
  }
  return 0;
}

int verify_logs(const LogCommand& command) {
  std::vector<LogDamage> damages;
  const auto checked = [&](const std::string& folder) {
    LogCheck check = check_log(folder);
    damages.insert(damages.end(), check.damages.begin(), check.damages.end());
    return check;
  };
  print_each(
      command, [&](const auto& folder) { return check_json(checked(folder)); },
      [&](const auto& folder) { return check_text(checked(folder)); });
  if (damages.empty()) return 0;
  throw data_error("[log] '{}' is damaged at byte {}: {} ({} damaged places in all). `nabla log salvage` copies what is left",
                   damages.front().segment, damages.front().begin, damages.front().reason, damages.size());
}

// Prints the entries that pass.
class Cat {
 public:
  explicit Cat(const LogCommand& command) : command_(command), filter_(filter_of(*command.filter)) {
    if (!command.tensors.empty()) std::filesystem::create_directories(command.tensors);
  }

  void read(const std::string& folder) const {
    TrajectoryLogReader reader(folder);
    while (const auto entry = reader.next()) std::visit([&](const auto& content) { print(content); }, *entry);
    for (const auto& warning : reader.warnings()) fmt::print(stderr, "warning: {}\n", warning);
  }

 private:
  void print(const LogHeader&) const {}
  template <class Entry>
  void print(const Entry& entry) const {
    if (command_.journal) print_json(journal_json(entry), -1);
  }
  void print(const EncodedRecord& encoded) const {
    const DecodeResult decoded = decode_record(encoded, {});
    if (decoded.reject != Reject::kNone)
      throw data_error("[log] the record of slot {} is refused: {} ({})", decoded.record.header.slot, name_of(decoded.reject),
                       decoded.reason);
    if (!filter_.passes(decoded.record.header)) return;
    Json json = record_json(decoded.record.header);
    if (!command_.tensors.empty()) json["tensors_file"] = write_record_tensors(decoded.record, command_.tensors);
    print_json(json, -1);
  }

  const LogCommand& command_;
  const RecordFilter filter_;
};

int print_records(const LogCommand& command) {
  const Cat cat(command);
  for (const auto& folder : logs_in(command)) cat.read(folder);
  return 0;
}

int merge_to_new(const LogCommand& command) {
  const LogMerge merge = merge_logs(logs_in(command), command.out, filter_of(*command.filter));
  if (command.json) {
    print_json({{"out", command.out},
                {"records", merge.records},
                {"updates", merge.updates},
                {"discards", merge.discards},
                {"duplicates", merge.duplicates},
                {"left_out", merge.left_out},
                {"is_run", merge.is_run}});
    return 0;
  }
  fmt::print("wrote {} records and {} discards of {} updates to {}; {} were duplicates, {} were left out\n", merge.records, merge.discards,
             merge.updates, command.out, merge.duplicates, merge.left_out);
  if (!merge.is_run) fmt::print("it is a part of the run and not the run: `nabla replay` takes its records as foreign ones\n");
  return 0;
}

int trim_logs(const LogCommand& command) {
  const auto trimmed = [&](const std::string& folder) {
    return command.dry_run ? plan_trim(folder, command.before) : trim_log(folder, command.before);
  };
  const char* done = command.dry_run ? "would remove" : "removed";
  print_each(
      command,
      [&](const auto& folder) {
        const LogTrim trim = trimmed(folder);
        return Json{{"dry_run", command.dry_run},
                    {"removed", trim.segments},
                    {"bytes", trim.bytes},
                    {"entries", trim.entries},
                    {"kept_because", trim.kept_because}};
      },
      [&](const auto& folder) {
        const LogTrim trim = trimmed(folder);
        std::string text;
        for (const auto& path : trim.segments) text += fmt::format("{} {}\n", done, path);
        return text + fmt::format("{} {} segments, {}, {} entries; the next one stays: {}\n", done, trim.segments.size(),
                                  bytes_text(trim.bytes), trim.entries, trim.kept_because);
      });
  return 0;
}

int salvage_to_new(const LogCommand& command) {
  const auto logs = logs_in(command);
  Json all = Json::array();
  for (const auto& folder : logs) {
    const std::string target = logs.size() == 1 ? command.out : command.out + "/" + std::filesystem::path(folder).filename().string();
    const LogSalvage salvage = salvage_log(folder, target);
    if (command.json) {
      all.push_back({{"log", folder},
                     {"out", target},
                     {"copied", salvage.copied},
                     {"header_lost", salvage.header_lost},
                     {"found", check_json(salvage.found)}});
      continue;
    }
    fmt::print("{}\n{}copied {} entries to {}\n", folder, check_text(salvage.found), salvage.copied, target);
    if (salvage.header_lost)
      fmt::print("the log's header was lost: neither configuration nor weights contract are known, so its records count as foreign\n");
  }
  if (command.json) print_json(all);
  return 0;
}

// Adds the verbs and their options.
class LogVerbs {
 public:
  LogVerbs(CLI::App& log, Invocation& invocation) : log_(log), invocation_(invocation) {}

  LogVerbs& add(const char* name, const char* help, int (*action)(const LogCommand&), const char* examples) {
    verb_ = log_.add_subcommand(name, help);
    command_ = std::make_shared<LogCommand>();
    verb_->add_option("log", command_->sources, "Run folder, or folder of a log")->required()->type_name("RUN|DIR");
    verb_->footer(examples);
    verb_->callback(
        [&invocation = invocation_, command = command_, action] { invocation.run = [command, action] { return action(*command); }; });
    return *this;
  }
  LogVerbs& with_json() {
    verb_->add_flag("--json", command_->json, "Print JSON");
    return *this;
  }
  LogVerbs& with_filter() {
    command_->filter = add_filter_options(*verb_);
    return *this;
  }
  LogVerbs& with_out() {
    verb_->add_option("--out", command_->out, "Folder of the new log; must not hold one")->required()->type_name("DIR");
    return *this;
  }
  LogVerbs& with_tensors() {
    verb_->add_option("--tensors", command_->tensors, "Also write each record's tensors to DIR/slot-<slot>.safetensors")->type_name("DIR");
    verb_->add_flag("--journal", command_->journal, "Also print published versions, discarded slots and trained updates");
    return *this;
  }
  LogVerbs& with_before() {
    verb_->add_option("--before", command_->before, "First update that is still needed")
        ->required()
        ->check(CLI::NonNegativeNumber)
        ->type_name("UPDATE");
    verb_->add_flag("--dry-run", command_->dry_run, "Only say what would be removed");
    return *this;
  }

 private:
  CLI::App& log_;
  Invocation& invocation_;
  CLI::App* verb_ = nullptr;  // the one that is being described
  std::shared_ptr<LogCommand> command_;
};

void add_looking_verbs(LogVerbs& verbs) {
  verbs
      .add("ls", "List the segments: bytes, entries, versions, sealed or not", list_logs,
           "Examples:\n  nabla log ls runs/pocket/latest\n  nabla log ls --json runs/pocket/latest/queue/rank-0")
      .with_json();
  verbs
      .add("stat", "Count records by kind, version and actor; rewards, discards, bytes, times", count_entries,
           "Examples:\n  nabla log stat runs/pocket/latest\n  nabla log stat --json runs/pocket/latest/queue/rank-0")
      .with_json();
  verbs
      .add("verify", "Test every checksum and footer; exit code 3 with segment and byte if one does not fit", verify_logs,
           "Examples:\n  nabla log verify runs/pocket/latest\n  nabla log verify --json runs/pocket/latest/queue/rank-0")
      .with_json();
  verbs
      .add("cat", "Print records as JSON lines", print_records,
           "Examples:\n  nabla log cat runs/pocket/latest --version 3:5 --reward 0:\n"
           "  nabla log cat runs/pocket/latest --slot 12 --tensors tensors")
      .with_filter()
      .with_tensors();
}

void add_writing_verbs(LogVerbs& verbs) {
  verbs
      .add("merge", "Write the records of a run's logs, or of a part of them, to a new log", merge_to_new,
           "Examples:\n  nabla log merge runs/pocket/latest --out merged\n"
           "  nabla log merge runs/pocket/latest --reward 5: --prompt star --out good-stars")
      .with_filter()
      .with_out()
      .with_json();
  verbs
      .add("trim", "Remove the oldest sealed segments that no update from one on needs; the rest is not touched", trim_logs,
           "Examples:\n  nabla log trim runs/pocket/latest --before 20 --dry-run\n  nabla log trim runs/pocket/latest --before 20")
      .with_before()
      .with_json();
  verbs
      .add("salvage", "Copy everything that can be read of a damaged log to a new one, and list what was lost", salvage_to_new,
           "Examples:\n  nabla log salvage runs/pocket/latest/queue/rank-0 --out saved\n"
           "  nabla log salvage --json runs/pocket/latest --out saved")
      .with_out()
      .with_json();
}

}  // namespace

void add_log_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("log", "Look into, check, repair, merge and trim the trajectory logs of runs");
  command->require_subcommand(1);
  command->footer("Examples:\n  nabla log ls runs/pocket/latest\n  nabla log cat runs/pocket/latest --slot 0:3");
  LogVerbs verbs(*command, invocation);
  add_looking_verbs(verbs);
  add_writing_verbs(verbs);
}

}  // namespace nabla
