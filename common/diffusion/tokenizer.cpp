#include "common/diffusion/tokenizer.h"

#include "common/diffusion/byte_symbols.h"
#include "common/diffusion/special_tokens.h"
#include "common/diffusion/unicode_text.h"
#include "common/error.h"
#include "common/files.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <unordered_map>

namespace nabla {

namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{64} << 20;

using Vocabulary = std::unordered_map<std::string, std::int64_t>;

struct MergeRule {
  std::int64_t rank = 0, merged = 0;
};

// By the ids of the two neighbours.
using MergeRules = std::unordered_map<std::uint64_t, MergeRule>;

std::uint64_t pair_key(std::int64_t left, std::int64_t right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right);
}

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

std::int64_t id_of(const Vocabulary& vocabulary, const std::string& token, const std::string& source) {
  const auto found = vocabulary.find(token);
  if (found == vocabulary.end())
    throw data_error("[tokenizer] '{}' speaks of the token '{}', which vocab.json does not have", source, token);
  return found->second;
}

MergeRules read_merges(const std::string& path, const Vocabulary& vocabulary) {
  MergeRules rules;
  const std::string content = read_file(path, kMaxFileBytes);
  std::string_view rest = content;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    const std::size_t space = line.find(' ');
    if (space == 0 || space == std::string_view::npos || space + 1 == line.size() || line.find(' ', space + 1) != std::string_view::npos) {
      throw data_error("[tokenizer] '{}': the line '{}' is not two symbols with a space between", path, line);
    }
    const std::string left(line.substr(0, space)), right(line.substr(space + 1));
    const MergeRule rule{static_cast<std::int64_t>(rules.size()), id_of(vocabulary, left + right, path)};
    rules.emplace(pair_key(id_of(vocabulary, left, path), id_of(vocabulary, right, path)), rule);
  }
  return rules;
}

// Code points of the piece that starts at `at`: a literal special, a contraction, letters, one digit, or others. 0 at white space.
std::size_t piece_length(const CodePoints& text, std::size_t at) {
  constexpr std::array<std::u32string_view, 9> kLiterals{
      U"<|startoftext|>", U"<|endoftext|>", U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"};
  const std::u32string_view rest(text.data() + at, text.size() - at);
  for (const auto literal : kLiterals) {
    if (rest.starts_with(literal)) return literal.size();
  }
  if (is_white_space(rest[0])) return 0;
  if (is_number(rest[0])) return 1;
  std::size_t length = 1;
  if (is_letter(rest[0])) {
    while (length < rest.size() && is_letter(rest[length])) ++length;
    return length;
  }
  const auto is_other = [](char32_t point) { return !is_white_space(point) && !is_letter(point) && !is_number(point); };
  while (length < rest.size() && is_other(rest[length])) ++length;
  return length;
}

}  // namespace

struct ClipTokenizer::Tables {
  MergeRules merges;
  std::array<std::int64_t, 256> byte_ids{}, last_byte_ids{};  // the latter with "</w>"
  SpecialTokens specials;
  std::int64_t start = 0, end = 0, pad = 0, max_length = 77;

  void append_piece(const std::string& bytes, std::vector<std::int64_t>& ids) const;
  void append_text(const std::string& normalized, std::vector<std::int64_t>& ids) const;
};

// Merges the pair of lowest rank, all its occurrences from the left, until no neighbours form a pair.
void ClipTokenizer::Tables::append_piece(const std::string& bytes, std::vector<std::int64_t>& ids) const {
  std::vector<std::int64_t> symbols;
  for (const char byte : bytes) symbols.push_back(byte_ids[static_cast<unsigned char>(byte)]);
  symbols.back() = last_byte_ids[static_cast<unsigned char>(bytes.back())];
  while (true) {
    const MergeRules::value_type* best = nullptr;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = merges.find(pair_key(symbols[i], symbols[i + 1]));
      if (found != merges.end() && (best == nullptr || found->second.rank < best->second.rank)) best = &*found;
    }
    if (best == nullptr) break;
    std::vector<std::int64_t> merged;
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      const bool pair = i + 1 < symbols.size() && pair_key(symbols[i], symbols[i + 1]) == best->first;
      merged.push_back(pair ? best->second.merged : symbols[i]);
      if (pair) ++i;
    }
    symbols = std::move(merged);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

void ClipTokenizer::Tables::append_text(const std::string& normalized, std::vector<std::int64_t>& ids) const {
  const CodePoints text = decode_utf8(normalized);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = piece_length(text, at);
    std::string piece;
    for (std::size_t i = at; i < at + length; ++i) append_utf8(piece, text[i]);
    if (length > 0) append_piece(piece, ids);
    at += std::max<std::size_t>(length, 1);
  }
}

ClipTokenizer::ClipTokenizer() = default;
ClipTokenizer::~ClipTokenizer() = default;
ClipTokenizer::ClipTokenizer(ClipTokenizer&&) noexcept = default;

ClipTokenizer ClipTokenizer::load(const std::string& folder) {
  const std::string vocabulary_file = folder + "/vocab.json";
  const Vocabulary vocabulary = read_vocabulary(vocabulary_file);
  const TokenizerSettings settings = read_tokenizer_settings(folder);
  auto tables = std::make_unique<Tables>();
  tables->merges = read_merges(folder + "/merges.txt", vocabulary);
  for (std::size_t byte = 0; byte < 256; ++byte) {
    tables->byte_ids[byte] = id_of(vocabulary, byte_symbols()[byte], "the byte alphabet");
    tables->last_byte_ids[byte] = id_of(vocabulary, byte_symbols()[byte] + "</w>", "the byte alphabet");
  }
  // In transformers' order: of two roles with the same content the later one's rule holds.
  for (const auto* role : {&settings.start, &settings.end, &settings.unknown, &settings.pad}) {
    const std::string content = role->normalized ? lower_case(compose_canonically(role->content)) : role->content;
    tables->specials.add(content, {id_of(vocabulary, role->content, folder), role->normalized});
  }
  for (const auto& [content, token] : settings.added) tables->specials.add(content, token);
  tables->start = id_of(vocabulary, settings.start.content, folder);
  tables->end = id_of(vocabulary, settings.end.content, folder);
  tables->pad = id_of(vocabulary, settings.pad.content, folder);
  tables->max_length = settings.max_length;
  ClipTokenizer tokenizer;
  tokenizer.tables_ = std::move(tables);
  return tokenizer;
}

std::vector<std::int64_t> ClipTokenizer::encode(const std::string& text) const {
  std::vector<std::int64_t> ids{tables_->start};
  for (const auto& raw : tables_->specials.split(text, false)) {
    if (raw.special) {
      ids.push_back(*raw.special);
      continue;
    }
    // White space needs no collapsing: it only separates pieces.
    for (const auto& part : tables_->specials.split(lower_case(compose_canonically(raw.text)), true)) {
      if (part.special) {
        ids.push_back(*part.special);
      } else {
        tables_->append_text(part.text, ids);
      }
    }
  }
  const auto length = static_cast<std::size_t>(tables_->max_length);
  if (ids.size() > length - 1) ids.resize(length - 1);
  ids.push_back(tables_->end);
  ids.resize(length, tables_->pad);
  return ids;
}

std::int64_t ClipTokenizer::max_length() const { return tables_->max_length; }

}  // namespace nabla
