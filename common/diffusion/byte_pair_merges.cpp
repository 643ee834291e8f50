#include "common/diffusion/byte_pair_merges.h"

#include "common/error.h"
#include "common/files.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>

namespace nabla {

namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{64} << 20;

std::uint64_t pair_key(std::int64_t left, std::int64_t right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right);
}

std::string_view take_line(std::string_view& rest) {
  const std::size_t end = std::min(rest.find('\n'), rest.size());
  std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

Vocabulary read_vocabulary(const std::string& path) {
  Vocabulary vocabulary;
  try {
    // Not ordered_json: its look-up is linear, and there are 49,408 keys.
    const auto json = nlohmann::json::parse(read_file(path, kMaxFileBytes));
    for (const auto& [token, id] : json.items()) {
      vocabulary[token] = id.get<std::int64_t>();
      if (vocabulary[token] < 0 || vocabulary[token] > std::numeric_limits<std::int32_t>::max()) {
        throw data_error("[tokenizer] '{}': token '{}' has the id {}", path, token, vocabulary[token]);
      }
    }
  } catch (const nlohmann::json::exception& error) {
    throw data_error("[tokenizer] '{}' is no map of tokens to ids: {}", path, error.what());
  }
  return vocabulary;
}

std::int64_t token_id(const Vocabulary& vocabulary, const std::string& token, const std::string& source) {
  const auto found = vocabulary.find(token);
  if (found == vocabulary.end())
    throw data_error("[tokenizer] '{}' speaks of the token '{}', which vocab.json does not have", source, token);
  return found->second;
}

BytePairMerges BytePairMerges::read(const std::string& path, const Vocabulary& vocabulary) {
  BytePairMerges merges;
  const std::string content = read_file(path, kMaxFileBytes);
  std::string_view rest = content;
  while (!rest.empty()) {
    const std::string_view line = take_line(rest);
    if (line.empty() || line.starts_with("#version")) continue;
    const std::size_t space = line.find(' ');
    if (space == 0 || space == std::string_view::npos || space + 1 == line.size() || line.find(' ', space + 1) != std::string_view::npos) {
      throw data_error("[tokenizer] '{}': the line '{}' is not two symbols with a space between", path, line);
    }
    const std::string left(line.substr(0, space)), right(line.substr(space + 1));
    const Rule rule{static_cast<std::int64_t>(merges.rules_.size()), token_id(vocabulary, left + right, path)};
    merges.rules_.emplace(pair_key(token_id(vocabulary, left, path), token_id(vocabulary, right, path)), rule);
  }
  return merges;
}

std::vector<std::int64_t> BytePairMerges::apply(std::vector<std::int64_t> symbols) const {
  while (true) {
    decltype(rules_)::const_pointer best = nullptr;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = rules_.find(pair_key(symbols[i], symbols[i + 1]));
      if (found != rules_.end() && (best == nullptr || found->second.rank < best->second.rank)) best = &*found;
    }
    if (best == nullptr) return symbols;
    std::vector<std::int64_t> merged;
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      const bool pair = i + 1 < symbols.size() && pair_key(symbols[i], symbols[i + 1]) == best->first;
      merged.push_back(pair ? best->second.merged : symbols[i]);
      if (pair) ++i;
    }
    symbols = std::move(merged);
  }
}

}  // namespace nabla
