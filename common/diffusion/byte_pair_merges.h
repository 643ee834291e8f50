#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace nabla {

using Vocabulary = std::unordered_map<std::string, std::int64_t>;  // token to id

// vocab.json. data_error naming the file.
Vocabulary read_vocabulary(const std::string& path);

using MergeLines = std::vector<std::pair<std::string, std::string>>;  // the most important first
// merges.txt or CLIP's bpe_simple_vocab_16e6.txt, which may be compressed (.gz): one pair of symbols a line below the heading; at most CLIP's number of
// them. data_error naming the file and the line.
MergeLines read_merge_lines(const std::string& path);
// CLIP's numbering: the byte alphabet, the same at the end of a word, what each merge makes, the two specials.
Vocabulary vocabulary_of(const MergeLines& merges, const std::string& start, const std::string& end);
// data_error naming the token and who speaks of it.
std::int64_t token_id(const Vocabulary& vocabulary, const std::string& token, const std::string& source);

// The ranked merges of a byte-pair tokenizer. Immutable.
class BytePairMerges {
 public:
  // data_error naming the token that the vocabulary does not have, and `source`.
  BytePairMerges(const MergeLines& merges, const Vocabulary& vocabulary, const std::string& source);
  // Merges the pair of lowest rank, all its occurrences from the left, until no neighbours form a pair.
  std::vector<std::int64_t> apply(std::vector<std::int64_t> symbols) const;

 private:
  struct Rule {
    std::int64_t rank = 0, merged = 0;
  };
  std::unordered_map<std::uint64_t, Rule> rules_;  // by the ids of the two neighbours
};

}  // namespace nabla
