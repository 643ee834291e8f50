#include "common/diffusion/byte_pair_merges.h"

#include "common/diffusion/byte_symbols.h"
#include "common/error.h"
#include "common/files.h"

#include <nlohmann/json.hpp>
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <memory>

namespace nabla {

namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{64} << 20;
constexpr std::size_t kMostMerges = 48894;  // CLIP's; its file goes on

// A text, unpacked where it is compressed.
std::string read_text(const std::string& path) {
  std::string content = read_file(path, kMaxFileBytes);
  if (!content.starts_with("\x1f\x8b")) return content;
  const std::unique_ptr<gzFile_s, decltype(&::gzclose)> file(::gzopen(path.c_str(), "rb"), &::gzclose);
  content.clear();
  char piece[1 << 16];
  int size = 1, problem = Z_ERRNO;
  while (file != nullptr && size > 0 && content.size() <= kMaxFileBytes) {
    size = ::gzread(file.get(), piece, sizeof(piece));
    content.append(piece, static_cast<std::size_t>(std::max(size, 0)));
  }
  // A file that was cut off reads as a shorter text; only the error code says so.
  if (file != nullptr) ::gzerror(file.get(), &problem);
  if (problem == Z_OK && !content.empty() && content.size() <= kMaxFileBytes) return content;
  throw data_error("[tokenizer] '{}' is a damaged compressed file, or one of more than {} MB", path, kMaxFileBytes >> 20);
}

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

MergeLines read_merge_lines(const std::string& path) {
  MergeLines merges;
  const std::string content = read_text(path);
  std::string_view rest = content;
  for (bool heading = true; !rest.empty() && merges.size() < kMostMerges; heading = false) {
    const std::string_view line = take_line(rest);
    const bool is_heading = heading && line.find("#version") != std::string_view::npos;
    if (line.empty() || is_heading) continue;
    const std::size_t space = line.find(' ');
    if (space == 0 || space == std::string_view::npos || space + 1 == line.size() || line.find(' ', space + 1) != std::string_view::npos) {
      throw data_error("[tokenizer] '{}': the line '{}' is not two symbols with a space between", path, line);
    }
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

Vocabulary vocabulary_of(const MergeLines& merges, const std::string& start, const std::string& end) {
  Vocabulary vocabulary;
  std::int64_t next = 0;
  const auto add = [&](const std::string& token) { vocabulary[token] = next++; };
  for (const char* ending : {"", "</w>"}) {
    for (const auto& symbol : byte_symbols_in_vocabulary_order()) add(symbol + ending);
  }
  for (const auto& [left, right] : merges) add(left + right);
  add(start);
  add(end);
  return vocabulary;
}

BytePairMerges::BytePairMerges(const MergeLines& merges, const Vocabulary& vocabulary, const std::string& source) {
  for (const auto& [left, right] : merges) {
    const Rule rule{static_cast<std::int64_t>(rules_.size()), token_id(vocabulary, left + right, source)};
    rules_.emplace(pair_key(token_id(vocabulary, left, source), token_id(vocabulary, right, source)), rule);
  }
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
