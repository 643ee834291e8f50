#include "common/diffusion/open_clip_tokenizer.h"
#include "common/diffusion/tokenizer.h"
#include "common/diffusion/word_piece_tokenizer.h"
#include "common/error.h"
#include "common/files.h"
#include "common/json_file.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/diffusion/parity_data.h"

#include <zlib.h>

#include <cstdlib>

using namespace nabla;

namespace {

using Ids = std::vector<std::int64_t>;

// FNV-1a over the ids, as tests/oracles/tokenizer_fuzz.py computes it.
class Checksum {
 public:
  void add(const Ids& row) {
    for (const std::int64_t id : row) add(static_cast<std::uint32_t>(id));
    add(0xFFFFFFFFU);
  }
  std::string hex() const { return fmt::format("{:016x}", value_); }

 private:
  void add(std::uint32_t number) {
    for (int shift = 0; shift < 32; shift += 8) value_ = (value_ ^ (number >> shift & 0xFF)) * 0x100000001B3ULL;
  }
  std::uint64_t value_ = 0xCBF29CE484222325ULL;
};

// All prompts, a block at a time, against the sums of the oracle's ids.
template <class Tokenizer>
void check_all_prompts(const Tokenizer& tokenizer, const std::string& key) {
  const auto oracle = read_json(parity_file("token_fuzz.json"));
  const auto& prompts = oracle.at("prompts");
  const auto block = oracle.at("block").get<std::size_t>();
  const auto& sums = oracle.at(key);
  REQUIRE(prompts.size() == 2000);
  REQUIRE(sums.size() == prompts.size() / block);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    Checksum sum;
    for (std::size_t row = i * block; row < (i + 1) * block; ++row) sum.add(tokenizer.encode(prompts[row].template get<std::string>()));
    INFO("prompts ", i * block, " to ", (i + 1) * block - 1);
    CHECK(sum.hex() == sums[i].get<std::string>());
  }
}

void write_packed(const std::string& path, const std::string& content) {
  const gzFile file = ::gzopen(path.c_str(), "wb");
  REQUIRE(::gzwrite(file, content.data(), static_cast<unsigned>(content.size())) == static_cast<int>(content.size()));
  REQUIRE(::gzclose(file) == Z_OK);
}

Ids framed(Ids ids) {
  ids.insert(ids.begin(), 49406);
  ids.push_back(49407);
  ids.resize(77, 0);
  return ids;
}

}  // namespace

TEST_CASE("CLIP's tokenizer gives transformers' ids on 2000 random awkward prompts") {
  check_all_prompts(ClipTokenizer::load(parity_file("pocket_tokenizer")), "clip_small");
}

TEST_CASE("open_clip's tokenizer gives open_clip's ids on 2000 random awkward prompts") {
  check_all_prompts(OpenClipTokenizer(parity_file("pocket_tokenizer/merges.txt")), "open_clip_small");
}

TEST_CASE("WordPiece gives transformers' ids on 2000 random awkward prompts") {
  check_all_prompts(WordPieceTokenizer(parity_file("bert_vocabulary.txt")), "bert_small");
}

TEST_CASE("a folder and a compressed file of merges give the same ids as the merges alone") {
  const TemporaryFolder folder;
  const std::string packed = folder.file("merges.txt.gz");
  write_packed(packed, read_file(parity_file("pocket_tokenizer/merges.txt"), 1 << 20));
  const OpenClipTokenizer alone(parity_file("pocket_tokenizer/merges.txt")), from_packed(packed),
      from_folder(parity_file("pocket_tokenizer"));
  const std::string text = "A large RED star's 3 &amp; \u201cfine\u201d";
  CHECK(from_packed.encode(text) == alone.encode(text));
  CHECK(from_folder.max_length() == 16);
  Ids cut = alone.encode("star");
  cut.resize(16);
  CHECK(from_folder.encode("star") == cut);
  const ClipTokenizer with_hf_rule = ClipTokenizer::load(packed);
  CHECK(with_hf_rule.encode("red star")[1] == alone.encode("red star")[1]);
  CHECK(with_hf_rule.encode("")[76] == with_hf_rule.encode("")[1]);
}

TEST_CASE("open_clip pads with 0 and cuts a long prompt before its end token") {
  const OpenClipTokenizer tokenizer(parity_file("pocket_tokenizer/merges.txt"));
  const Ids empty = tokenizer.encode("");
  CHECK(empty.size() == 77);
  CHECK(empty[1] == empty[0] + 1);
  CHECK(empty[2] == 0);
  std::string prompt;
  for (int i = 0; i < 100; ++i) prompt += "star ";
  const Ids cut = tokenizer.encode(prompt);
  CHECK(cut.back() == empty[1]);
  CHECK(cut[75] == tokenizer.encode("star")[1]);
}

TEST_CASE("WordPiece cuts at the length that is asked for and takes words it does not know as unknown") {
  const WordPieceTokenizer tokenizer(parity_file("bert_vocabulary.txt"));
  const Ids cut = tokenizer.encode("red red red red red red", 4);
  REQUIRE(cut.size() == 4);
  CHECK(cut.back() == tokenizer.encode("").back());
  CHECK(tokenizer.encode("\u6771")[1] == 1);
  CHECK(tokenizer.encode(std::string(101, 'a')).size() == 3);
}

TEST_CASE("damaged vocabularies are refused by the file's name") {
  const TemporaryFolder folder;
  const std::string file = folder.file("vocab.txt");
  const auto refuse_words = [&](const std::string& content, const std::string& part) {
    write_file(file, content);
    check_error(
        ExitCode::kData, [&] { WordPieceTokenizer{file}; }, "vocab.txt", part);
  };
  refuse_words("", "[PAD]");
  refuse_words("[PAD]\n[UNK]\n[CLS]\n[SEP]\n", "[MASK]");
  refuse_words("[PAD]\na\na\n", "'a'");
  check_error(
      ExitCode::kData, [&] { WordPieceTokenizer{folder.path() + "/none"}; }, "none");
  const std::string packed = folder.file("merges.gz");
  write_file(packed, "\x1f\x8b\x08 this is no gzip");
  check_error(
      ExitCode::kData, [&] { OpenClipTokenizer{packed}; }, "merges.gz");
  write_packed(packed, read_file(parity_file("pocket_tokenizer/merges.txt"), 1 << 20));
  std::string cut = read_file(packed, 1 << 20);
  cut.erase(cut.size() - 4);
  write_file(packed, cut);
  check_error(
      ExitCode::kData, [&] { OpenClipTokenizer{packed}; }, "merges.gz", "damaged");
  write_file(packed, "#version\na b c\n");
  check_error(
      ExitCode::kData, [&] { OpenClipTokenizer{packed}; }, "a b c");
}

// A few kilobytes that unpack to a hundred megabytes.
TEST_CASE("a compressed bomb is refused once it is too long") {
  const TemporaryFolder folder;
  const std::string packed = folder.file("bomb.gz"), piece(1 << 20, '\n');
  const gzFile file = ::gzopen(packed.c_str(), "wb9");
  for (int i = 0; i < 100; ++i) ::gzwrite(file, piece.data(), static_cast<unsigned>(piece.size()));
  ::gzclose(file);
  check_error(
      ExitCode::kData, [&] { OpenClipTokenizer{packed}; }, "bomb.gz", "64 MB");
}

// NABLA_SD15_DIR names a folder with tokenizer/ (tests/oracles/clip_vocabulary.py makes one), NABLA_BERT_VOCABULARY bert-base-uncased's vocab.txt.
TEST_CASE("SD v1.5's vocabulary under both rules gives the ids of transformers and open_clip" *
          doctest::skip(std::getenv("NABLA_SD15_DIR") == nullptr)) {
  const std::string folder = std::string(std::getenv("NABLA_SD15_DIR")) + "/tokenizer";
  check_all_prompts(ClipTokenizer::load(folder), "clip");
  check_all_prompts(OpenClipTokenizer(folder), "open_clip");
  CHECK(OpenClipTokenizer(folder).encode("a photo of an astronaut riding a horse on mars") ==
        framed({320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496}));
  CHECK(OpenClipTokenizer(folder).encode("na\u00efve caf\u00e9 \u2014 d\u00e9j\u00e0 vu") ==
        framed({1097, 35689, 563, 15304, 2005, 25466, 73, 21259, 13230}));
}

TEST_CASE("golden token ids of bert-base-uncased" * doctest::skip(std::getenv("NABLA_BERT_VOCABULARY") == nullptr)) {
  const WordPieceTokenizer tokenizer(std::getenv("NABLA_BERT_VOCABULARY"));
  CHECK(tokenizer.encode("a photo of a cat") == Ids{101, 1037, 6302, 1997, 1037, 4937, 102});
  CHECK(tokenizer.encode("A cat's 123 toys!!") == Ids{101, 1037, 4937, 1005, 1055, 13138, 10899, 999, 999, 102});
  CHECK(tokenizer.encode("na\u00efve caf\u00e9 \u2014 d\u00e9j\u00e0 vu") == Ids{101, 15743, 7668, 1517, 2139, 3900, 24728, 102});
  CHECK(tokenizer.encode("hedgehog kangaroo") == Ids{101, 17834, 25852, 21652, 102});
  CHECK(tokenizer.encode("\u65e5\u672c\u306e\u685c") == Ids{101, 1864, 1876, 1671, 100, 102});
  check_all_prompts(tokenizer, "bert");
}
