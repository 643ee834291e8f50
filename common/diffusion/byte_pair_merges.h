#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace nabla {

using Vocabulary = std::unordered_map<std::string, std::int64_t>;  // token to id

// vocab.json. data_error naming the file.
Vocabulary read_vocabulary(const std::string& path);
// data_error naming the token and who speaks of it.
std::int64_t token_id(const Vocabulary& vocabulary, const std::string& token, const std::string& source);

// The ranked merges of a byte-pair tokenizer. Immutable.
class BytePairMerges {
 public:
  // merges.txt: one pair of symbols a line, the most important first. data_error naming the file and the line.
  static BytePairMerges read(const std::string& path, const Vocabulary& vocabulary);
  // Merges the pair of lowest rank, all its occurrences from the left, until no neighbours form a pair.
  std::vector<std::int64_t> apply(std::vector<std::int64_t> symbols) const;

 private:
  struct Rule {
    std::int64_t rank = 0, merged = 0;
  };
  std::unordered_map<std::uint64_t, Rule> rules_;  // by the ids of the two neighbours
};

}  // namespace nabla
