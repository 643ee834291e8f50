#pragma once

#include <string>
#include <vector>

namespace nabla {

// Writes a CLIP tokenizer folder (vocab.json, merges.txt, special_tokens_map.json, tokenizer_config.json) whose merges make each of `words` one token:
// 512 byte symbols first, then the merges, the two specials last. Words are lower-case ASCII letters.
void write_pocket_tokenizer(const std::string& folder, const std::vector<std::string>& words, int max_length);

}  // namespace nabla
