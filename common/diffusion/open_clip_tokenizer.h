#pragma once

#include "common/diffusion/clip_pieces.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

// CLIP byte-pair tokenizer with the rule of OpenAI, open_clip and HPSv2: the text is repaired (text_repair.h), HTML is unescaped twice, lower case is Python's, the
// specials are spelt <start_of_text> and <end_of_text>, and padding is 0. Thread safe.
class OpenClipTokenizer {
 public:
  // `path` as for read_clip_vocabulary.
  explicit OpenClipTokenizer(const std::string& path);

  // Framed, truncated and padded to max_length. data_error if the text is not UTF-8.
  std::vector<std::int64_t> encode(const std::string& text) const;
  std::int64_t max_length() const { return max_length_; }

 private:
  OpenClipTokenizer(const ClipVocabulary& vocabulary, const std::string& path);

  ClipPieces pieces_;
  std::int64_t start_, end_, max_length_;
};

}  // namespace nabla
