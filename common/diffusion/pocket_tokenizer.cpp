#include "common/diffusion/pocket_tokenizer.h"

#include "common/diffusion/byte_symbols.h"
#include "common/files.h"
#include "common/json_file.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <utility>

namespace nabla {

namespace {

using Symbols = std::vector<std::string>;
using Merge = std::pair<std::string, std::string>;

Symbols letters_of(const std::string& word) {
  Symbols symbols;
  for (const char letter : word) symbols.emplace_back(1, letter);
  symbols.back() += "</w>";
  return symbols;
}

void apply_merge(Symbols& symbols, const Merge& merge) {
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
    if (symbols[i] != merge.first || symbols[i + 1] != merge.second) continue;
    symbols[i] += symbols[i + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
  }
}

// Byte-pair training that goes on until every word is one symbol: each merge is applied to all words, so encoding in rank order meets the same states.
std::vector<Merge> train_merges(const std::vector<std::string>& words) {
  std::vector<Symbols> states;
  for (const auto& word : words) states.push_back(letters_of(word));
  std::vector<Merge> merges;
  while (true) {
    const auto open = std::find_if(states.begin(), states.end(), [](const Symbols& state) { return state.size() > 1; });
    if (open == states.end()) return merges;
    merges.emplace_back((*open)[0], (*open)[1]);
    for (auto& state : states) apply_merge(state, merges.back());
  }
}

}  // namespace

void write_pocket_tokenizer(const std::string& folder, const std::vector<std::string>& words, int max_length) {
  const std::string start = "<|startoftext|>", end = "<|endoftext|>";
  std::filesystem::create_directories(folder);
  nlohmann::ordered_json vocabulary;
  const auto add = [&](const std::string& symbol) { vocabulary[symbol] = vocabulary.size(); };
  for (const auto& symbol : byte_symbols_in_vocabulary_order()) add(symbol);
  for (const auto& symbol : byte_symbols_in_vocabulary_order()) add(symbol + "</w>");
  std::string merges = "#version: 0.2\n";
  for (const auto& [left, right] : train_merges(words)) {
    add(left + right);
    merges += left + " " + right + "\n";
  }
  add(start);
  add(end);
  write_json(folder + "/vocab.json", vocabulary);
  write_file(folder + "/merges.txt", merges);
  write_json(folder + "/special_tokens_map.json", {{"bos_token", start}, {"eos_token", end}, {"pad_token", end}, {"unk_token", end}});
  write_json(folder + "/tokenizer_config.json", {{"bos_token", start},
                                                 {"do_lower_case", true},
                                                 {"eos_token", end},
                                                 {"model_max_length", max_length},
                                                 {"pad_token", end},
                                                 {"tokenizer_class", "CLIPTokenizer"},
                                                 {"unk_token", end}});
}

}  // namespace nabla
