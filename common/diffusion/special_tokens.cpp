#include "common/diffusion/special_tokens.h"

#include "common/error.h"
#include "common/json_file.h"

#include <filesystem>
#include <utility>

namespace nabla {

namespace {

using Json = nlohmann::ordered_json;

// A special is a string, or an object with "content" and "normalized".
void read_role(const Json& json, const char* key, TokenizerSettings::Role& role) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return;
  role = found->is_string() ? TokenizerSettings::Role{found->get<std::string>(), false}
                            : TokenizerSettings::Role{found->at("content").get<std::string>(), found->value("normalized", false)};
}

void read_roles(const Json& json, TokenizerSettings& settings) {
  read_role(json, "bos_token", settings.start);
  read_role(json, "eos_token", settings.end);
  read_role(json, "unk_token", settings.unknown);
  read_role(json, "pad_token", settings.pad);
}

void read_length(const Json& json, TokenizerSettings& settings) {
  constexpr double kUnlimited = 1e5;  // transformers writes 1e30 where no length is set
  const auto found = json.find("model_max_length");
  if (found == json.end() || found->is_null() || found->get<double>() > kUnlimited) return;
  settings.max_length = found->get<std::int64_t>();
  if (settings.max_length < 2) throw data_error("model_max_length is {}; the two specials alone take 2", settings.max_length);
}

void read_added(const Json& json, TokenizerSettings& settings) {
  const auto found = json.find("added_tokens_decoder");
  if (found == json.end()) return;
  for (const auto& [id, token] : found->items()) {
    settings.added[token.at("content").get<std::string>()] = {std::stoll(id), token.value("normalized", false)};
  }
}

template <class Reader>
void read_if_there(const std::string& path, Reader reader) {
  if (!std::filesystem::exists(path)) return;
  const Json json = read_json(path);
  try {
    reader(json);
  } catch (const std::exception& error) {
    throw data_error("[tokenizer] '{}' is not a tokenizer's file: {}", path, error.what());
  }
}

}  // namespace

std::vector<SpecialTokens::Part> SpecialTokens::split(std::string_view text, bool normalized) const {
  std::vector<Part> parts;
  std::string ordinary;
  const auto close = [&] {
    if (!ordinary.empty()) parts.push_back({std::exchange(ordinary, {}), std::nullopt});
  };
  while (!text.empty()) {
    const std::pair<const std::string, Token>* best = nullptr;
    for (const auto& item : tokens_) {
      const bool fits = item.second.normalized == normalized && text.starts_with(item.first);
      if (fits && (best == nullptr || item.first.size() > best->first.size())) best = &item;
    }
    if (best == nullptr) {
      ordinary += text.front();
      text.remove_prefix(1);
      continue;
    }
    close();
    parts.push_back({best->first, best->second.id});
    text.remove_prefix(best->first.size());
  }
  close();
  return parts;
}

TokenizerSettings read_tokenizer_settings(const std::string& folder) {
  TokenizerSettings settings;
  read_if_there(folder + "/special_tokens_map.json", [&](const Json& json) { read_roles(json, settings); });
  read_if_there(folder + "/tokenizer_config.json", [&](const Json& json) {
    read_roles(json, settings);
    read_length(json, settings);
    read_added(json, settings);
  });
  return settings;
}

}  // namespace nabla
