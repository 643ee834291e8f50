#include "common/diffusion/clip_pieces.h"

#include "common/diffusion/byte_symbols.h"

#include <filesystem>

namespace nabla {

namespace {

constexpr std::array<std::u32string_view, 7> kContractions{U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"};

}  // namespace

ClipVocabulary read_clip_vocabulary(const std::string& path, const std::string& start, const std::string& end) {
  ClipVocabulary vocabulary;
  if (std::filesystem::is_directory(path)) {
    vocabulary.ids = read_vocabulary(path + "/vocab.json");
    vocabulary.settings = read_tokenizer_settings(path);
    vocabulary.merges_file = path + "/merges.txt";
    vocabulary.merges = read_merge_lines(vocabulary.merges_file);
    return vocabulary;
  }
  vocabulary.merges_file = path;
  vocabulary.merges = read_merge_lines(path);
  vocabulary.ids = vocabulary_of(vocabulary.merges, start, end);
  vocabulary.settings.start.content = start;
  for (auto* role : {&vocabulary.settings.end, &vocabulary.settings.unknown, &vocabulary.settings.pad}) role->content = end;
  return vocabulary;
}

std::size_t clip_piece_length(const CodePoints& text, std::size_t at, std::span<const std::u32string_view> literals) {
  const std::u32string_view rest(text.data() + at, text.size() - at);
  for (const auto literal : literals) {
    if (rest.starts_with(literal)) return literal.size();
  }
  for (const auto contraction : kContractions) {
    if (rest.starts_with(contraction)) return contraction.size();
  }
  if (is_white_space(rest[0])) return 0;
  if (is_number(rest[0])) return 1;
  std::size_t length = 1;
  if (is_letter(rest[0])) {
    while (length < rest.size() && is_letter(rest[length])) ++length;
    return length;
  }
  const auto is_other = [](char32_t point) { return !is_white_space(point) && !is_letter(point) && !is_number(point); };
  while (length < rest.size() && is_other(rest[length])) ++length;
  return length;
}

ClipPieces::ClipPieces(const ClipVocabulary& vocabulary) : merges_(vocabulary.merges, vocabulary.ids, vocabulary.merges_file) {
  for (std::size_t byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = token_id(vocabulary.ids, byte_symbols()[byte], "the byte alphabet");
    last_byte_ids_[byte] = token_id(vocabulary.ids, byte_symbols()[byte] + "</w>", "the byte alphabet");
  }
}

void ClipPieces::append(std::u32string_view piece, std::vector<std::int64_t>& ids) const {
  std::string bytes;
  for (const char32_t point : piece) append_utf8(bytes, point);
  std::vector<std::int64_t> symbols;
  for (const char byte : bytes) symbols.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
  symbols.back() = last_byte_ids_[static_cast<unsigned char>(bytes.back())];
  symbols = merges_.apply(std::move(symbols));
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

}  // namespace nabla
