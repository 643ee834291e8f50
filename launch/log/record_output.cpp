#include "launch/log/record_output.h"

#include "common/safetensors.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace nabla {

namespace {

using Json = nlohmann::ordered_json;

const char* kind_name(TicketKind kind) { return kind == TicketKind::kRelabel ? "relabel" : "sample"; }

}  // namespace

Json record_json(const RecordHeader& header) {
  Json transitions = Json::array(), tensors = Json::array();
  for (const TransitionRef& row : header.transitions) transitions.push_back({row.step, row.timestep, row.next_timestep});
  for (const TensorEntry& entry : header.tensors)
    tensors.push_back({{"name", entry.name}, {"dtype", name_of(entry.dtype)}, {"shape", entry.shape}, {"bytes", entry.size}});
  return {{"entry", "record"},
          {"kind", kind_name(header.kind)},
          {"run_id", header.run_id},
          {"slot", header.slot},
          {"update", header.update},
          {"version", header.version},
          {"digest", header.digest},
          {"actor", header.actor_id},
          {"ticket", header.ticket_id},
          {"prompt_index", header.prompt_index},
          {"prompt", header.prompt},
          {"token_ids", header.token_ids},
          {"seed", header.seed},
          {"step_table", header.step_table_id},
          {"transitions", transitions},
          {"reward", header.reward},
          {"reward_components", header.reward_components},
          {"reward_spec", header.reward_spec},
          {"gradient_kind", header.gradient_kind},
          {"tensors", tensors}};
}

Json journal_json(const PublishEntry& entry) { return {{"entry", "publish"}, {"version", entry.version}, {"digest", entry.digest}}; }

Json journal_json(const DiscardEntry& entry) {
  return {{"entry", "discard"}, {"slot", entry.slot}, {"update", entry.update}, {"reason", entry.reason}};
}

Json journal_json(const TrainedEntry& entry) { return {{"entry", "trained"}, {"update", entry.update}, {"slots", entry.slots}}; }

std::string write_record_tensors(const TrajectoryRecord& record, const std::string& folder) {
  const RecordHeader& header = record.header;
  std::map<std::string, TensorBytes> tensors;
  for (const TensorEntry& entry : header.tensors) tensors[entry.name] = {entry.dtype, entry.shape, record.bytes(entry)};
  std::string path = fmt::format("{}/slot-{:06}", folder, header.slot);
  if (header.kind == TicketKind::kRelabel) path += fmt::format("-relabel-{}", header.version);
  path += ".safetensors";
  write_safetensors(path, tensors,
                    {{"slot", std::to_string(header.slot)},
                     {"version", std::to_string(header.version)},
                     {"prompt", header.prompt},
                     {"reward", fmt::format("{}", header.reward)}});
  return path;
}

}  // namespace nabla
