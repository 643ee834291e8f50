#include "common/diffusion/word_piece_tokenizer.h"

#include "common/diffusion/unicode_text.h"
#include "common/error.h"
#include "common/files.h"

#include <algorithm>
#include <filesystem>

namespace nabla {

namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{64} << 20, kLongestWord = 100;

std::string vocabulary_file(const std::string& path) {
  if (!std::filesystem::is_directory(path)) return path;
  const std::string inner = path + "/tokenizer/vocab.txt";
  return std::filesystem::exists(inner) ? inner : path + "/vocab.txt";
}

bool is_ideograph(char32_t point) {
  // The block of extension E begins at 2B820; transformers' Rust code takes 2B920.
  constexpr std::pair<char32_t, char32_t> kBlocks[] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
                                                       {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  return std::ranges::any_of(kBlocks, [point](const auto& block) { return point >= block.first && point <= block.second; });
}

bool is_separator(char32_t point) {
  constexpr std::u32string_view kSymbols = U"$+<=>^`|~";  // of ASCII, in no category of punctuation
  return is_punctuation(point) || kSymbols.find(point) != std::u32string_view::npos;
}

// Without controls, white space as spaces, spaces around ideographs.
std::string clean(const std::string& text) {
  std::string cleaned;
  for (const char32_t point : decode_utf8(text)) {
    const bool space = is_white_space(point), layout = point == U'\t' || point == U'\n' || point == U'\r';
    if (point == 0 || point == 0xFFFD || (is_control_or_private(point) && !layout)) continue;
    if (is_ideograph(point)) {
      cleaned += ' ';
      append_utf8(cleaned, point);
      cleaned += ' ';
    } else {
      append_utf8(cleaned, space ? U' ' : point);
    }
  }
  return cleaned;
}

// Lower case, accents gone; punctuation is a word of its own.
std::vector<std::u32string> words_of(const std::string& text) {
  std::vector<std::u32string> words;
  bool open = false;
  std::string plain;
  for (const char32_t point : decode_utf8(decompose_canonically(clean(text)))) {
    if (!is_nonspacing_mark(point)) append_utf8(plain, point);
  }
  for (const char32_t point : decode_utf8(lower_case(plain))) {
    const bool space = is_white_space(point), separator = is_separator(point);
    if (!space && (separator || !open)) words.emplace_back();
    if (!space) words.back() += point;
    open = !space && !separator;
  }
  return words;
}

}  // namespace

WordPieceTokenizer::WordPieceTokenizer(const std::string& path) {
  const std::string file = vocabulary_file(path);
  const std::string content = read_file(file, kMaxFileBytes);
  std::int64_t line = 0;
  for (std::size_t begin = 0; begin < content.size(); ++line) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    std::string token = content.substr(begin, end - begin);
    begin = end + 1;
    if (token.ends_with('\r')) token.pop_back();
    if (token.empty()) continue;  // some copies leave unused tokens blank
    if (!ids_.emplace(token, line).second)
      throw data_error("[tokenizer] '{}': line {} repeats the token '{}'; is it a vocabulary of one token a line?", file, line + 1, token);
  }
  const auto special = [&](const char* token) {
    const auto found = ids_.find(token);
    if (found == ids_.end()) throw data_error("[tokenizer] '{}' does not have the token {}; is it BERT's vocabulary?", file, token);
    specials_.add(token, {found->second, false});
    return found->second;
  };
  pad_ = special("[PAD]");
  unknown_ = special("[UNK]");
  first_ = special("[CLS]");
  last_ = special("[SEP]");
  special("[MASK]");
}

void WordPieceTokenizer::append_word(const std::u32string& word, std::vector<std::int64_t>& ids) const {
  const std::size_t before = ids.size();
  for (std::size_t begin = 0; begin < word.size();) {
    std::size_t end = word.size() > kLongestWord ? begin : word.size();
    for (; end > begin; --end) {
      std::string piece = begin > 0 ? "##" : "";
      for (std::size_t at = begin; at < end; ++at) append_utf8(piece, word[at]);
      const auto found = ids_.find(piece);
      if (found == ids_.end()) continue;
      ids.push_back(found->second);
      break;
    }
    if (end == begin) {
      ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(before), ids.end());
      ids.push_back(unknown_);
      return;
    }
    begin = end;
  }
}

std::vector<std::int64_t> WordPieceTokenizer::encode(const std::string& text, std::int64_t max_length) const {
  std::vector<std::int64_t> ids{first_};
  for (const auto& part : specials_.split(text, false)) {
    if (part.special) {
      ids.push_back(*part.special);
    } else {
      for (const auto& word : words_of(part.text)) append_word(word, ids);
    }
  }
  const auto longest = static_cast<std::size_t>(max_length) - 1;
  if (ids.size() > longest) ids.resize(longest);
  ids.push_back(last_);
  return ids;
}

}  // namespace nabla
