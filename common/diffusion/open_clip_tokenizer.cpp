#include "common/diffusion/open_clip_tokenizer.h"

#include "common/diffusion/html_entities.h"
#include "common/diffusion/text_repair.h"

#include <algorithm>

namespace nabla {

namespace {

constexpr std::array<std::u32string_view, 2> kLiterals{U"<start_of_text>", U"<end_of_text>"};

// White space needs no collapsing: it only separates pieces.
CodePoints clean(const std::string& text) { return decode_utf8(lower_case_of_words(unescape_html(unescape_html(repair_text(text))))); }

// As the pattern sees lower-case text, for it ignores case: the long s is an s, and the iota below a letter, a mark with a capital letter, is in none of its
// classes.
CodePoints folded(CodePoints text) {
  std::ranges::replace(text, U'\u017F', U's');
  std::ranges::replace(text, U'\u0345', U' ');
  return text;
}

}  // namespace

OpenClipTokenizer::OpenClipTokenizer(const std::string& path)
    : OpenClipTokenizer(read_clip_vocabulary(path, "<start_of_text>", "<end_of_text>"), path) {}

OpenClipTokenizer::OpenClipTokenizer(const ClipVocabulary& vocabulary, const std::string& path)
    : pieces_(vocabulary),
      start_(token_id(vocabulary.ids, vocabulary.settings.start.content, path)),
      end_(token_id(vocabulary.ids, vocabulary.settings.end.content, path)),
      max_length_(vocabulary.settings.max_length) {}

std::vector<std::int64_t> OpenClipTokenizer::encode(const std::string& text) const {
  std::vector<std::int64_t> ids{start_};
  const CodePoints points = clean(text), pattern = folded(points);
  for (std::size_t at = 0; at < points.size();) {
    const std::size_t length = clip_piece_length(pattern, at, kLiterals);
    const std::u32string_view piece(points.data() + at, length);
    at += std::max<std::size_t>(length, 1);
    if (length == 0) continue;
    if (piece == kLiterals[0] || piece == kLiterals[1]) {
      ids.push_back(piece == kLiterals[0] ? start_ : end_);
    } else {
      pieces_.append(piece, ids);
    }
  }
  const auto length = static_cast<std::size_t>(max_length_);
  if (ids.size() > length - 1) ids.resize(length - 1);
  ids.push_back(end_);
  ids.resize(length, 0);
  return ids;
}

}  // namespace nabla
