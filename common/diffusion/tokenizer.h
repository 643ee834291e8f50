#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace nabla {

// CLIP byte-pair tokenizer with the rule of HF's fast tokenizer (NFC, white space collapsed, lower case). Thread safe once made.
class ClipTokenizer {
 public:
  // Reads vocab.json, merges.txt, special_tokens_map.json and tokenizer_config.json (the last two optional) of a diffusers tokenizer folder, or CLIP's merges
  // alone (bpe_simple_vocab_16e6.txt, as it is or .gz). Throws data_error naming the file.
  static ClipTokenizer load(const std::string& path);
  ~ClipTokenizer();
  ClipTokenizer(ClipTokenizer&&) noexcept;

  // Framed with the specials, truncated and padded to max_length.
  std::vector<std::int64_t> encode(const std::string& text) const;
  std::int64_t max_length() const;

 private:
  ClipTokenizer();
  struct Tables;
  std::unique_ptr<const Tables> tables_;
};

}  // namespace nabla
