#include "common/diffusion/tokenizer.h"

#include "common/diffusion/byte_pair_merges.h"
#include "common/diffusion/byte_symbols.h"
#include "common/diffusion/special_tokens.h"
#include "common/diffusion/unicode_text.h"

#include <algorithm>
#include <array>

namespace nabla {

namespace {

constexpr std::array<std::u32string_view, 2> kSpecialLiterals{U"<|startoftext|>", U"<|endoftext|>"};
constexpr std::array<std::u32string_view, 7> kContractions{U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"};

// Code points of the piece that starts at `at`: a literal special, a contraction, letters, one digit, or others. 0 at white space.
std::size_t piece_length(const CodePoints& text, std::size_t at) {
  const std::u32string_view rest(text.data() + at, text.size() - at);
  for (const auto literal : kSpecialLiterals) {
    if (rest.starts_with(literal)) return literal.size();
  }
  for (const auto contraction : kContractions) {
    if (rest.starts_with(contraction)) return contraction.size();
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
  BytePairMerges merges;
  std::array<std::int64_t, 256> byte_ids{}, last_byte_ids{};  // the latter with "</w>"
  SpecialTokens specials;
  std::int64_t start = 0, end = 0, pad = 0, max_length = 77;

  void append_piece(std::u32string_view piece, std::vector<std::int64_t>& ids) const;
  void append_text(const std::string& normalized, std::vector<std::int64_t>& ids) const;
};

void ClipTokenizer::Tables::append_piece(std::u32string_view piece, std::vector<std::int64_t>& ids) const {
  std::string bytes;
  for (const char32_t point : piece) append_utf8(bytes, point);
  std::vector<std::int64_t> symbols;
  for (const char byte : bytes) symbols.push_back(byte_ids[static_cast<unsigned char>(byte)]);
  symbols.back() = last_byte_ids[static_cast<unsigned char>(bytes.back())];
  symbols = merges.apply(std::move(symbols));
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

void ClipTokenizer::Tables::append_text(const std::string& normalized, std::vector<std::int64_t>& ids) const {
  const CodePoints text = decode_utf8(normalized);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = piece_length(text, at);
    const std::u32string_view piece(text.data() + at, length);
    at += std::max<std::size_t>(length, 1);
    if (length == 0) continue;
    // One that is spelt out but no token here ("<|ENDOFTEXT|>"): transformers' byte-level step cuts it once more.
    if (std::find(kSpecialLiterals.begin(), kSpecialLiterals.end(), piece) != kSpecialLiterals.end()) {
      for (const auto part : {piece.substr(0, 2), piece.substr(2, length - 4), piece.substr(length - 2)}) append_piece(part, ids);
    } else {
      append_piece(piece, ids);
    }
  }
}

ClipTokenizer::ClipTokenizer() = default;
ClipTokenizer::~ClipTokenizer() = default;
ClipTokenizer::ClipTokenizer(ClipTokenizer&&) noexcept = default;

ClipTokenizer ClipTokenizer::load(const std::string& folder) {
  const Vocabulary vocabulary = read_vocabulary(folder + "/vocab.json");
  const TokenizerSettings settings = read_tokenizer_settings(folder);
  auto tables = std::make_unique<Tables>();
  tables->merges = BytePairMerges::read(folder + "/merges.txt", vocabulary);
  for (std::size_t byte = 0; byte < 256; ++byte) {
    tables->byte_ids[byte] = token_id(vocabulary, byte_symbols()[byte], "the byte alphabet");
    tables->last_byte_ids[byte] = token_id(vocabulary, byte_symbols()[byte] + "</w>", "the byte alphabet");
  }
  // In transformers' order: of two roles with the same content the later one's rule holds.
  for (const auto* role : {&settings.start, &settings.end, &settings.unknown, &settings.pad}) {
    const std::string content = role->normalized ? lower_case(compose_canonically(role->content)) : role->content;
    tables->specials.add(content, {token_id(vocabulary, role->content, folder), role->normalized});
  }
  for (const auto& [content, token] : settings.added) tables->specials.add(content, token);
  tables->start = token_id(vocabulary, settings.start.content, folder);
  tables->end = token_id(vocabulary, settings.end.content, folder);
  tables->pad = token_id(vocabulary, settings.pad.content, folder);
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
