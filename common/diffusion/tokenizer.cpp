#include "common/diffusion/tokenizer.h"

#include "common/diffusion/clip_pieces.h"

#include <algorithm>
#include <array>

namespace nabla {

namespace {

constexpr std::array<std::u32string_view, 2> kSpecialLiterals{U"<|startoftext|>", U"<|endoftext|>"};

}  // namespace

struct ClipTokenizer::Tables {
  ClipPieces pieces;
  SpecialTokens specials;
  std::int64_t start = 0, end = 0, pad = 0, max_length = 77;

  void append_text(const std::string& normalized, std::vector<std::int64_t>& ids) const;
};

void ClipTokenizer::Tables::append_text(const std::string& normalized, std::vector<std::int64_t>& ids) const {
  const CodePoints text = decode_utf8(normalized);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = clip_piece_length(text, at, kSpecialLiterals);
    const std::u32string_view piece(text.data() + at, length);
    at += std::max<std::size_t>(length, 1);
    if (length == 0) continue;
    // One that is spelt out but no token here ("<|ENDOFTEXT|>"): transformers' byte-level step cuts it once more.
    if (std::find(kSpecialLiterals.begin(), kSpecialLiterals.end(), piece) != kSpecialLiterals.end()) {
      for (const auto part : {piece.substr(0, 2), piece.substr(2, length - 4), piece.substr(length - 2)}) pieces.append(part, ids);
    } else {
      pieces.append(piece, ids);
    }
  }
}

ClipTokenizer::ClipTokenizer() = default;
ClipTokenizer::~ClipTokenizer() = default;
ClipTokenizer::ClipTokenizer(ClipTokenizer&&) noexcept = default;

ClipTokenizer ClipTokenizer::load(const std::string& path) {
  const ClipVocabulary vocabulary = read_clip_vocabulary(path, "<|startoftext|>", "<|endoftext|>");
  const TokenizerSettings& settings = vocabulary.settings;
  auto tables = std::make_unique<Tables>(Tables{ClipPieces(vocabulary), {}});
  // In transformers' order: of two roles with the same content the later one's rule holds.
  for (const auto* role : {&settings.start, &settings.end, &settings.unknown, &settings.pad}) {
    const std::string content = role->normalized ? lower_case(compose_canonically(role->content)) : role->content;
    tables->specials.add(content, {token_id(vocabulary.ids, role->content, path), role->normalized});
  }
  for (const auto& [content, token] : settings.added) tables->specials.add(content, token);
  tables->start = token_id(vocabulary.ids, settings.start.content, path);
  tables->end = token_id(vocabulary.ids, settings.end.content, path);
  tables->pad = token_id(vocabulary.ids, settings.pad.content, path);
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
