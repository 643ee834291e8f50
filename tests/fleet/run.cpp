#include "tests/fleet/run.h"

#include "common/files.h"
#include "common/json_file.h"
#include "tests/fleet/tiny_model.h"
#include "tests/testing.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <variant>

namespace nabla {

namespace {

constexpr std::size_t kMaxFile = 16 << 20;

std::string tiny_config() {
  return "run: {name: tiny}\n"
         "seed: 3\n"
         "pretrained: {model: " +
         tiny_model() +
         "}\n"
         "experiment: {reward_fn: mean-red}\n"
         "sampling: {num_steps: 4, guidance_scale: 3}\n"
         "model: {lora_rank: 2, lora_alpha: 2, reward_scale: 100, timestep_fraction: 0.5, flow_channel_width: [8, 16],\n"
         "        time_weighting: uniform, unet_reg_scale: 0.3}\n"
         "training: {batch_size: 2, gradient_accumulation_steps: 2, updates: " +
         std::to_string(kUpdates) +
         "}\n"
         "fleet: {lockstep: true, ticket_size: 1}\n"
         "actors: {count: 2}\n"
         "eval: {every: 0, prompts: 2, seeds: 2}\n";
}

struct EntryTaker {
  LogContent& content;
  void operator()(const LogHeader& header) const { content.header = header; }
  void operator()(const EncodedRecord& encoded) const {
    const DecodeResult decoded = decode_record(encoded, {});
    INFO(decoded.reason);
    REQUIRE(decoded.reject == Reject::kNone);
    content.encoded.push_back(encoded);
    content.records.push_back(decoded.record.header);
  }
  void operator()(const PublishEntry& entry) const { content.published.push_back(entry); }
  void operator()(const TrainedEntry& entry) const { content.trained.push_back(entry); }
  void operator()(const DiscardEntry& entry) const { content.discarded.push_back(entry); }
};

}  // namespace

const std::string& tiny_model() {
  static const TemporaryFolder folder;
  static const std::string model = [] {
    write_tiny_model(folder.file("model"), 1);
    return folder.file("model");
  }();
  return model;
}

Runs::Runs() { write_file(folder("tiny.yaml"), tiny_config()); }

std::vector<std::string> Runs::command(const std::string& role, const std::string& name, const std::vector<std::string>& settings) const {
  std::vector<std::string> arguments{role, "--config", folder("tiny.yaml"), "run.dir=" + folder(name)};
  arguments.insert(arguments.end(), settings.begin(), settings.end());
  return nabla_command(arguments);
}

std::vector<std::string> actor_command(const std::string& connect, const std::string& id, const std::vector<std::string>& settings) {
  std::vector<std::string> arguments{"actor", "--connect", connect, "--id", id};
  arguments.insert(arguments.end(), settings.begin(), settings.end());
  return nabla_command(arguments);
}

nlohmann::ordered_json summary_of(const std::string& run) { return read_json(run + "/summary.json"); }

std::string weights_of(const std::string& run) { return summary_of(run).at("weights_digest").get<std::string>(); }

std::vector<nlohmann::ordered_json> metrics_of(const std::string& run) {
  std::ifstream file(run + "/metrics.jsonl");
  std::vector<nlohmann::ordered_json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(parse_json(line, run + "/metrics.jsonl"));
  return lines;
}

std::int64_t updates_done(const std::string& run) {
  if (!exists(run + "/metrics.jsonl")) return 0;
  const std::string text = read_file(run + "/metrics.jsonl", kMaxFile);
  return std::count(text.begin(), text.end(), '\n');
}

nlohmann::ordered_json status_of(const std::string& run) {
  return exists(run + "/status.json") ? read_json(run + "/status.json") : nlohmann::ordered_json::object();
}

bool exists(const std::string& path) { return std::filesystem::exists(path); }

LogContent read_log(const std::string& rank_folder) {
  TrajectoryLogReader reader(rank_folder);
  LogContent content;
  while (const auto entry = reader.next()) std::visit(EntryTaker{content}, *entry);
  content.warnings = reader.warnings();
  return content;
}

std::set<std::string> actors_in(const LogContent& log) {
  std::set<std::string> actors;
  for (const auto& record : log.records) actors.insert(record.actor_id);
  return actors;
}

const ReferenceRun& reference_run() {
  static const Runs runs;
  static const ReferenceRun reference = [] {
    const Outcome outcome = Process(runs.command("train", "reference")).wait();
    return ReferenceRun{runs.folder("reference"), outcome};
  }();
  INFO(reference.outcome.output);
  REQUIRE(reference.outcome.exit == 0);
  return reference;
}

}  // namespace nabla
