#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nabla {

// Tokens that a text may spell out literally and that no byte-pair rule touches.
class SpecialTokens {
 public:
  struct Token {
    std::int64_t id = 0;
    bool normalized = false;  // sought in the normalized text instead of the raw one
  };
  struct Part {
    std::string text;
    std::optional<std::int64_t> special;  // the id; else `text` is ordinary text
  };

  // An empty one is in no text.
  void add(const std::string& content, const Token& token) {
    if (!content.empty()) tokens_[content] = token;
  }
  // Cuts a text at the tokens of one kind: the leftmost first, of those the longest.
  std::vector<Part> split(std::string_view text, bool normalized) const;

 private:
  std::map<std::string, Token> tokens_;
};

// The roles of a CLIP tokenizer's specials and the length it frames to.
struct TokenizerSettings {
  struct Role {
    std::string content;
    bool normalized = false;
  };
  Role start{"<|startoftext|>"}, end{"<|endoftext|>"}, unknown{"<|endoftext|>"}, pad{"<|endoftext|>"};
  std::map<std::string, SpecialTokens::Token> added;  // added_tokens_decoder
  std::int64_t max_length = 77;
};

// Reads special_tokens_map.json and tokenizer_config.json of a folder; either may be absent. data_error naming the file.
TokenizerSettings read_tokenizer_settings(const std::string& folder);

}  // namespace nabla
