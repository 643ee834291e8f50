#pragma once

#include "common/diffusion/special_tokens.h"

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace nabla {

// BERT's WordPiece tokenizer with the rule of bert-base-uncased: lower case, no accents, punctuation by itself, the longest known start of a word first. Thread safe.
class WordPieceTokenizer {
 public:
  // `path`: vocab.txt, one token a line, or a folder that has it (at its top or in tokenizer/). data_error naming the file and the token that is missing.
  explicit WordPieceTokenizer(const std::string& path);

  // [CLS] ids [SEP], cut to max_length; not padded. data_error if the text is not UTF-8.
  std::vector<std::int64_t> encode(const std::string& text, std::int64_t max_length = 512) const;
  std::int64_t pad() const { return pad_; }

 private:
  void append_word(const std::u32string& word, std::vector<std::int64_t>& ids) const;

  std::unordered_map<std::string, std::int64_t> ids_;
  SpecialTokens specials_;
  std::int64_t pad_ = 0, unknown_ = 0, first_ = 0, last_ = 0;
};

}  // namespace nabla
