#include "common/json_file.h"
#include "common/safetensors.h"
#include "protocol/trajectory_log.h"
#include "tests/launch/captured_run.h"
#include "tests/protocol/sample_record.h"
#include "tests/testing.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace nabla;

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kLoggedUpdates = 6, kLoggedSlots = 4;

// The log of a run of 6 updates with 4 slots each, a segment about an update.
void write_run_log(const std::string& folder) {
  const auto log = TrajectoryLog::create({folder, Durability::kPageCache, 6000}, {sample_header().run_id, "contract", "seed: 1\n"});
  log->append(PublishEntry{0, "digest-0"});
  for (std::int64_t update = 0; update < kLoggedUpdates; ++update) {
    std::vector<std::int64_t> slots;
    for (std::int64_t i = 0; i < kLoggedSlots; ++i) {
      slots.push_back(update * kLoggedSlots + i);
      RecordHeader header = sample_header(slots.back());
      header.update = header.version = update;
      header.reward = static_cast<double>(slots.back());
      header.actor_id = i % 2 == 0 ? "even" : "odd";
      log->append(encode_record(header, sample_tensors()));
    }
    log->append(TrainedEntry{update, slots});
    log->append(PublishEntry{update + 1, "digest"});
  }
  log->append(DiscardEntry{kLoggedUpdates * kLoggedSlots, kLoggedUpdates, "non_finite: x"});
  log->close();
}

class LoggedRun {
 public:
  LoggedRun() { write_run_log(log()); }
  std::string run() const { return folder_.path(); }
  std::string log() const { return folder_.file("queue/rank-0"); }
  std::string file(const std::string& name) const { return folder_.file(name); }

  std::vector<std::string> segments() const {
    std::vector<std::string> paths;
    for (const auto& entry : fs::directory_iterator(log())) paths.push_back(entry.path().string());
    std::ranges::sort(paths);
    return paths;
  }

  // Flips a bit in the middle of a segment.
  void damage(const std::string& segment) const {
    std::fstream file(segment, std::ios::binary | std::ios::in | std::ios::out);
    const auto place = static_cast<std::streamoff>(fs::file_size(segment) / 2);
    file.seekg(place);
    const int byte = file.get();
    file.seekp(place);
    file.put(static_cast<char>(byte ^ 1));
  }

 private:
  TemporaryFolder folder_;
};

nlohmann::ordered_json json_of(const std::vector<std::string>& arguments) {
  const CapturedRun run = run_nabla(arguments);
  INFO(run.err);
  REQUIRE(run.code == 0);
  return parse_json(run.out, "output");
}

// Slots of the lines of `nabla log cat`.
std::vector<std::int64_t> cat_slots(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"log", "cat"});
  const CapturedRun run = run_nabla(arguments);
  INFO(run.err);
  REQUIRE(run.code == 0);
  std::istringstream lines(run.out);
  std::vector<std::int64_t> slots;
  for (std::string line; std::getline(lines, line);) slots.push_back(parse_json(line, "line").at("slot").get<std::int64_t>());
  return slots;
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("log ls lists the segments of a run's log") {
  const LoggedRun run;
  const auto json = json_of({"log", "ls", "--json", run.run()});
  const auto& segments = json.at(run.log());
  REQUIRE(segments.size() == run.segments().size());
  std::int64_t records = 0;
  for (const auto& segment : segments) {
    CHECK(segment.at("state") == "sealed");
    CHECK(segment.at("bytes") == fs::file_size(segment.at("segment").get<std::string>()));
    records += segment.at("records").get<std::int64_t>();
  }
  CHECK(records == kLoggedUpdates * kLoggedSlots);
  CHECK(segments[0].at("min_version") == 0);
  const CapturedRun text = run_nabla({"log", "ls", run.log()});
  CHECK(text.code == 0);
  CHECK(says(text.out, "q-000000000000.seg"));
  CHECK(says(text.out, "sealed"));
}

TEST_CASE("log stat counts records and tells their rewards") {
  const LoggedRun run;
  const auto json = json_of({"log", "stat", run.run(), "--json"});
  CHECK(json.at("records") == 24);
  CHECK(json.at("records_by_actor").at("odd") == 12);
  CHECK(json.at("records_by_version").at("3") == 4);
  CHECK(json.at("reward_mean").get<double>() == doctest::Approx(11.5));
  CHECK(json.at("reward_std").get<double>() == doctest::Approx(6.922187).epsilon(1e-6));  // of 0..23
  CHECK(json.at("reward_max") == 23.0);
  CHECK(json.at("updates") == 6);
  CHECK(json.at("versions") == 7);
  CHECK(json.at("discards").at("non_finite: x") == 1);
  CHECK(json.at("last_unix_ms").get<std::int64_t>() >= json.at("first_unix_ms").get<std::int64_t>());
  CHECK(says(run_nabla({"log", "stat", run.run()}).out, "24 samples"));
}

TEST_CASE("log verify passes a whole log and names segment and byte of a damaged one") {
  const LoggedRun run;
  CHECK(json_of({"log", "verify", "--json", run.run()}).at(run.log()).at("damages").empty());
  run.damage(run.segments()[1]);
  const CapturedRun damaged = run_nabla({"log", "verify", run.run()});
  CHECK(damaged.code == 3);
  CHECK(says(damaged.out, run.segments()[1]));
  CHECK(says(damaged.out, "is missing (slot"));
  CHECK(says(damaged.err, run.segments()[1]));
  CHECK(says(damaged.err, "at byte"));
  CHECK(run_nabla({"log", "cat", run.run()}).code == 3);
}

TEST_CASE("a torn tail is a warning of log verify") {
  const LoggedRun run;
  fs::resize_file(run.segments().back(), fs::file_size(run.segments().back()) - 1);
  const CapturedRun verified = run_nabla({"log", "verify", run.run()});
  CHECK(verified.code == 0);
  CHECK(says(verified.out, "warning: "));
}

TEST_CASE("log cat prints the records that are asked for") {
  const LoggedRun run;
  using Slots = std::vector<std::int64_t>;
  CHECK(cat_slots({run.run()}).size() == 24);
  CHECK(cat_slots({run.run(), "--slot", "7"}) == Slots{7});
  CHECK(cat_slots({run.run(), "--version", "1:2", "--actor", "odd"}) == Slots{5, 7, 9, 11});
  CHECK(cat_slots({run.run(), "--reward", "21.5:"}) == Slots{22, 23});
  CHECK(cat_slots({run.run(), "--reward=:0.5"}) == Slots{0});
  CHECK(cat_slots({run.run(), "--prompt", "red", "--update", "5"}) == Slots{20, 21, 22, 23});
  CHECK(cat_slots({run.run(), "--prompt", "no such prompt"}).empty());
  const auto record = json_of({"log", "cat", run.run(), "--slot", "3"});
  CHECK(record.at("prompt") == sample_header().prompt);
  CHECK(record.at("reward") == 3.0);
  CHECK(record.at("tensors").size() == 3);
  CHECK(says(run_nabla({"log", "cat", run.run(), "--journal"}).out, "{\"entry\":\"trained\",\"update\":5,\"slots\":[20,21,22,23]}\n"));
  const CapturedRun wrong = run_nabla({"log", "cat", run.run(), "--slot", "x:3"});
  CHECK(wrong.code == 2);
  CHECK(says(wrong.err, "--slot is 'x:3'"));
}

TEST_CASE("log cat writes the tensors of records") {
  const LoggedRun run;
  const std::string tensors = run.file("tensors");
  CHECK(cat_slots({run.run(), "--slot", "2:3", "--tensors", tensors}).size() == 2);
  const auto file = SafetensorsFile::open(tensors + "/slot-000003.safetensors");
  CHECK(file->tensors().at("x").shape == std::vector<std::int64_t>{2, 1, 2, 3});
  const auto values = sample_values();
  CHECK(std::ranges::equal(file->bytes("y"), std::as_bytes(std::span(values))));
  CHECK(file->metadata().at("reward") == "3");
}

TEST_CASE("log merge writes a filtered log that replay takes as foreign") {
  const LoggedRun run;
  const auto json = json_of({"log", "merge", run.run(), "--reward", "20:", "--out", run.file("good"), "--json"});
  CHECK(json.at("records") == 4);
  CHECK(json.at("left_out") == 20);
  CHECK(json.at("is_run") == false);
  CHECK(cat_slots({run.file("good")}) == std::vector<std::int64_t>{20, 21, 22, 23});
  CHECK(run_nabla({"log", "merge", run.run(), "--out", run.file("good")}).code == 1);
  CHECK(json_of({"log", "merge", run.run(), "--out", run.file("whole"), "--json"}).at("is_run") == true);
}

TEST_CASE("log trim removes whole old segments and says which, unless it is to say only") {
  const LoggedRun run;
  const auto before = run.segments();
  const auto planned = json_of({"log", "trim", run.run(), "--before", "4", "--dry-run", "--json"}).at(run.log());
  CHECK(run.segments() == before);
  const CapturedRun trimmed = run_nabla({"log", "trim", run.run(), "--before", "4"});
  CHECK(trimmed.code == 0);
  CHECK(says(trimmed.out, before[0]));
  CHECK(run.segments().size() == before.size() - planned.at("removed").size());
  CHECK(run.segments().size() < before.size());
  CHECK(run_nabla({"log", "verify", run.run()}).code == 0);
  CHECK(cat_slots({run.run(), "--update", "4:"}).size() == 8);
}

TEST_CASE("log salvage copies what is left and lists what was lost") {
  const LoggedRun run;
  run.damage(run.segments()[1]);
  const auto json = json_of({"log", "salvage", run.run(), "--out", run.file("saved"), "--json"});
  REQUIRE(json[0].at("found").at("damages").size() == 1);
  const std::int64_t lost = json[0].at("found").at("damages")[0].at("slots")[0].get<std::int64_t>();
  auto expected = cat_slots({run.file("saved")});
  CHECK(expected.size() == 23);
  CHECK(std::ranges::count(expected, lost) == 0);
  CHECK(run_nabla({"log", "verify", run.file("saved")}).code == 0);
  CHECK(run_nabla({"log", "salvage", run.run(), "--out", run.file("saved")}).code == 1);
}

TEST_CASE("every verb of log explains itself with two examples, and a missing folder is named") {
  for (const std::string verb : {"ls", "stat", "verify", "cat", "merge", "trim", "salvage"}) {
    const CapturedRun help = run_nabla({"log", verb, "--help"});
    INFO(verb);
    CHECK(help.code == 0);
    const std::size_t first = help.out.find("\n  nabla log " + verb + " ");
    REQUIRE(first != std::string::npos);
    CHECK(help.out.find("\n  nabla log " + verb + " ", first + 1) != std::string::npos);
    CHECK(run_nabla({"log", verb}).code == 2);
  }
  const CapturedRun absent = run_nabla({"log", "ls", "no/such/folder"});
  CHECK(absent.code == 3);
  CHECK(says(absent.err, "no/such/folder"));
  const TemporaryFolder empty;
  CHECK(run_nabla({"log", "verify", empty.path()}).code == 3);
}

TEST_CASE("hostile files in the place of a log are refused without a crash and without more memory than they have bytes") {
  const TemporaryFolder folder;
  const LoggedRun run;
  const std::string whole = read_file(run.segments().front(), std::size_t{1} << 20);
  const std::string path = folder.file("q-000000000000.seg");
  std::vector<std::string> hostile{"", "NABLASEG", std::string(64, '\0'), std::string(100000, '\xff'),
                                   whole.substr(0, 64) + std::string(8192, '\xff')};
  for (std::size_t place = 64; place < 64 + 28; ++place) {
    hostile.push_back(whole);
    hostile.back()[place] = '\xff';  // lengths, numbers, types and counts of a block
  }
  for (const std::string& bytes : hostile) {
    write_file(path, bytes);
    for (const std::string verb : {"ls", "stat", "verify", "cat"}) {
      const CapturedRun result = run_nabla({"log", verb, folder.path()});
      CHECK((result.code == 3 || (verb == "ls" && result.code == 0)));
      CHECK(result.err.find("std::") == std::string::npos);
    }
  }
}
