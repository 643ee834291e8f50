#pragma once

#include "common/diffusion/byte_pair_merges.h"
#include "common/diffusion/special_tokens.h"
#include "common/diffusion/unicode_text.h"

#include <array>
#include <span>
#include <string_view>

namespace nabla {

// What a CLIP tokenizer is made of.
struct ClipVocabulary {
  std::string merges_file;
  MergeLines merges;
  Vocabulary ids;
  TokenizerSettings settings;
};

// `path`: a folder with vocab.json, merges.txt and perhaps special_tokens_map.json and tokenizer_config.json, or CLIP's merges alone
// (bpe_simple_vocab_16e6.txt, as it is or .gz), whose specials are then `start` and `end`. data_error naming the file.
ClipVocabulary read_clip_vocabulary(const std::string& path, const std::string& start, const std::string& end);

// Code points of the piece of CLIP's pattern that starts at `at`: a special's literal, a contraction, letters, one digit, or others. 0 at white space.
std::size_t clip_piece_length(const CodePoints& text, std::size_t at, std::span<const std::u32string_view> literals);

// The token ids of one piece: its bytes, of which the last ends a word, merged.
class ClipPieces {
 public:
  explicit ClipPieces(const ClipVocabulary& vocabulary);
  void append(std::u32string_view piece, std::vector<std::int64_t>& ids) const;

 private:
  BytePairMerges merges_;
  std::array<std::int64_t, 256> byte_ids_{}, last_byte_ids_{};  // the latter with "</w>"
};

}  // namespace nabla
