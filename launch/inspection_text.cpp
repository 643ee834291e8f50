#include "launch/inspection.h"

#include "common/nearest.h"
#include "launch/log/log_text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace nabla {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLongestMetadata = 120, kNamesShown = 8;

std::string list_text(const Json& list) {
  std::string text;
  for (const auto& item : list) text += (text.empty() ? "" : ", ") + (item.is_string() ? item.get<std::string>() : item.dump());
  return text;
}

std::string shortened(const std::string& text) {
  const bool is_long = text.size() > kLongestMetadata;
  return is_long ? text.substr(0, kLongestMetadata) + fmt::format(".. ({} bytes)", text.size()) : text;
}

// Every name of a list, a line each.
std::string names_text(const Json& part, const char* key) {
  const auto found = part.find(key);
  if (found == part.end()) return "";
  std::string text = fmt::format("    {} {}:\n", found->size(), std::string(key) == "wrong_shapes" ? "of another shape" : key);
  for (const auto& name : *found) text += fmt::format("      {}\n", name.get<std::string>());
  return text;
}

std::string components_text(const Json& components) {
  std::string text;
  for (const auto& [name, part] : components.items()) {
    text += fmt::format("  {:<13} {:<22} {:>13} parameters  {:>10}  {}\n", name, part["class"].get<std::string>(),
                        part["parameters"].get<std::int64_t>(), bytes_text(part["bytes"].get<std::uint64_t>()), list_text(part["dtypes"]));
    for (const char* key : {"missing", "unexpected", "wrong_shapes"}) text += names_text(part, key);
  }
  return text;
}

std::string checkpoint_text(const Json& json) {
  const auto kind = json.find("checkpoint");
  if (kind == json.end()) return "";
  std::string text = fmt::format("{}\n", kind->get<std::string>());
  if (const auto problem = json.find("problem"); problem != json.end()) text += fmt::format("  {}\n", problem->get<std::string>());
  if (json.contains("components")) text += components_text(json["components"]);
  if (const auto others = json.find("passed_over"); others != json.end() && !others->empty())
    text += fmt::format("  of no component, passed over: {}\n", comma_list(others->get<std::vector<std::string>>(), kNamesShown));
  return text;
}

std::string tensors_text(const Json& json) {
  std::size_t longest = 4;
  for (const auto& tensor : json["tensors"]) longest = std::max(longest, tensor["name"].get_ref<const std::string&>().size());
  std::string text = fmt::format("{} file {}\n", json["kind"].get<std::string>(), json["path"].get<std::string>());
  const Json metadata = json.value("metadata", Json::object());
  for (const auto& [key, value] : metadata.items()) text += fmt::format("  {}: {}\n", key, shortened(value.get<std::string>()));
  for (const auto& tensor : json["tensors"]) {
    text += fmt::format("  {:<{}}  {:<4}  {:<18}  {:>10}\n", tensor["name"].get<std::string>(), longest, tensor["dtype"].get<std::string>(),
                        fmt::format("[{}]", list_text(tensor["shape"])), tensor["bytes"].get<std::uint64_t>());
  }
  if (const auto others = json.find("left_out"); others != json.end() && !others->empty())
    text += fmt::format("  beside them, passed over: {}\n", list_text(*others));
  const Json& total = json["total"];
  return text + fmt::format("{} tensors, {} elements, {}\n", total["tensors"].get<std::size_t>(), total["elements"].get<std::uint64_t>(),
                            bytes_text(total["bytes"].get<std::uint64_t>())) +
         checkpoint_text(json);
}

std::string model_text(const Json& json) {
  std::string text = fmt::format("model folder {}\n", json["path"].get<std::string>());
  text += components_text(json["components"]);
  const Json& scheduler = json["scheduler"];
  return text + fmt::format("  tokenizer of {} tokens; {} training steps, {} betas, predicts {}\n{} parameters\n",
                            json["tokenizer_length"].get<std::int64_t>(), scheduler["num_train_timesteps"].get<std::int64_t>(),
                            scheduler["beta_schedule"].get<std::string>(), scheduler["prediction_type"].get<std::string>(),
                            json["parameters"].get<std::int64_t>());
}

std::string counts_text(const Json& counts) {
  std::string text;
  std::int64_t sum = 0;
  for (const auto& [reason, count] : counts.items()) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", reason, count.get<std::int64_t>());
    sum += count.get<std::int64_t>();
  }
  return text.empty() ? "0" : fmt::format("{} ({})", sum, text);
}

std::string log_text(const Json& log) {
  std::string text = fmt::format("  log of run {}\n", log["run_id"].get<std::string>());
  text += fmt::format("    records {} ({}), relabelled {}, unreadable {}; transitions {}; actors {}\n", log["records"].get<std::int64_t>(),
                      bytes_text(log["record_bytes"].get<std::uint64_t>()), log["relabelled"].get<std::int64_t>(),
                      log["unreadable"].get<std::int64_t>(), log["transitions"].get<std::int64_t>(), list_text(log["actors"]));
  text += fmt::format("    reward mean {:.3f}; policy lag mean {:.2f} max {}\n", log["reward_mean"].get<double>(),
                      log["policy_lag"]["mean"].get<double>(), log["policy_lag"]["max"].get<std::int64_t>());
  text += fmt::format("    versions {}, the last {} {}\n", log["versions"].get<std::size_t>(), log["last_version"].get<std::int64_t>(),
                      log["last_digest"].get<std::string>());
  text += fmt::format("    updates trained {} of {} slots; discards {}\n", log["updates"].get<std::int64_t>(),
                      log["trained"].get<std::int64_t>(), counts_text(log["discards"]));
  for (const auto& warning : log["warnings"]) text += fmt::format("    warning: {}\n", warning.get<std::string>());
  return text;
}

// "-" where the summary has no such number.
std::string number_text(const Json& json, const char* key, int digits) {
  const auto found = json.find(key);
  return found == json.end() || !found->is_number() ? "-" : fmt::format("{:.{}f}", found->get<double>(), digits);
}

std::string evaluation_text(const Json& evaluations) {
  std::string text =
      fmt::format("  {:>8}  {:>8}  {:>11}  {:>9}  {:>8}  {:>7}\n", "update", "reward", "true reward", "diversity", "accuracy", "drift");
  for (const auto& entry : evaluations) {
    text += fmt::format("  {:>8}  {:>8}  {:>11}  {:>9}  {:>8}  {:>7}\n", number_text(entry, "update", 0),
                        number_text(entry, "reward_mean", 2), number_text(entry, "true_reward_mean", 2), number_text(entry, "diversity", 3),
                        number_text(entry, "prompt_accuracy", 3), number_text(entry, "drift", 3));
  }
  return text;
}

std::string run_text(const Json& json) {
  std::string text = fmt::format("run '{}' in {}\n  exit reason: {}\n", json["name"].get<std::string>(), json["path"].get<std::string>(),
                                 json["exit_reason"].get<std::string>());
  if (const auto status = json.find("status"); status != json.end()) {
    text += fmt::format("  {} at update {} of {}\n", status->value("state", "unknown state"), number_text(*status, "update", 0),
                        json["updates_wanted"].get<std::int64_t>());
  }
  if (const auto summary = json.find("summary"); summary != json.end()) {
    text +=
        fmt::format("  updates {} of {} in {} s; weights {}\n", number_text(*summary, "updates", 0),
                    json["updates_wanted"].get<std::int64_t>(), number_text(*summary, "wall_s", 1), summary->value("weights_digest", "-"));
    if (summary->contains("evaluation") && !(*summary)["evaluation"].empty()) text += evaluation_text((*summary)["evaluation"]);
    const Json ledger = summary->value("ledger", Json::object());
    text += fmt::format("  ledger (slots): issued {} = trained {} + discarded {} + outstanding {}; residual {}\n",
                        number_text(ledger, "issued", 0), number_text(ledger, "trained", 0),
                        counts_text(ledger.value("discarded", Json::object())), number_text(ledger, "outstanding", 0),
                        number_text(ledger, "residual", 0));
  }
  return json.contains("log") ? text + log_text(json["log"]) : text + "  no trajectory log\n";
}

}  // namespace

std::string inspection_text(const nlohmann::ordered_json& inspection) {
  const std::string kind = inspection["kind"].get<std::string>();
  if (kind == "safetensors" || kind == "torch") return tensors_text(inspection);
  if (kind == "model") return model_text(inspection);
  if (kind == "run") return run_text(inspection);
  return fmt::format("trajectory log {}\n", inspection["path"].get<std::string>()) + log_text(inspection);
}

}  // namespace nabla
