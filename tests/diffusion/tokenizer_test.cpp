#include "common/diffusion/tokenizer.h"
#include "common/diffusion/pocket_tokenizer.h"
#include "common/files.h"
#include "common/json_file.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/diffusion/parity_data.h"

#include <algorithm>
#include <cstdlib>

using namespace nabla;

namespace {

using Ids = std::vector<std::int64_t>;

constexpr int kLength = 16;
const std::vector<std::string> kWords{"a",     "two",    "three",   "tree",     "small",     "large", "red",   "green", "blue",   "star",
                                      "stars", "circle", "circles", "triangle", "triangles", "ring",  "rings", "cross", "crosses"};

Ids frame(Ids ids, std::int64_t start, std::int64_t end, std::int64_t pad, std::size_t length) {
  ids.insert(ids.begin(), start);
  ids.push_back(end);
  ids.resize(length, pad);
  return ids;
}

// Compares with the ids that transformers gives; there the padding is cut to one.
void check_against_oracle(const ClipTokenizer& tokenizer, const std::string& key) {
  const auto oracle = read_json(parity_file("token_ids.json"));
  REQUIRE(tokenizer.max_length() == oracle.at(key + "_length").get<std::int64_t>());
  for (std::size_t i = 0; i < oracle.at("prompts").size(); ++i) {
    const auto prompt = oracle.at("prompts")[i].get<std::string>();
    Ids expected = oracle.at(key)[i].get<Ids>();
    expected.resize(static_cast<std::size_t>(tokenizer.max_length()), expected.back());
    INFO("prompt ", i, ": ", prompt);
    CHECK(tokenizer.encode(prompt) == expected);
  }
}

ClipTokenizer with_changed_file(const TemporaryFolder& folder, const std::string& file, const std::string& content) {
  write_pocket_tokenizer(folder.path(), kWords, kLength);
  write_file(folder.file(file), content);
  return ClipTokenizer::load(folder.path());
}

}  // namespace

TEST_CASE("the pocket tokenizer's files are the ones that transformers was asked about") {
  const TemporaryFolder folder;
  write_pocket_tokenizer(folder.path(), kWords, kLength);
  for (const char* file : {"vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json"}) {
    INFO(file);
    CHECK(read_file(folder.file(file), 1 << 20) == read_file(parity_file(std::string("pocket_tokenizer/") + file), 1 << 20));
  }
}

TEST_CASE("every caption word is one token of the pocket tokenizer and the specials come last") {
  const ClipTokenizer tokenizer = ClipTokenizer::load(parity_file("pocket_tokenizer"));
  const Ids empty = tokenizer.encode("");
  const std::int64_t start = empty[0], end = empty[1];
  CHECK(end == start + 1);
  CHECK(empty == frame({}, start, end, end, kLength));
  std::vector<std::int64_t> seen;
  for (const auto& word : kWords) {
    const Ids ids = tokenizer.encode(word);
    INFO(word);
    CHECK(ids[2] == end);
    CHECK(ids[1] < start);
    CHECK(std::find(seen.begin(), seen.end(), ids[1]) == seen.end());
    seen.push_back(ids[1]);
  }
}

TEST_CASE("token ids equal those of transformers on plain and awkward prompts") {
  check_against_oracle(ClipTokenizer::load(parity_file("pocket_tokenizer")), "pocket");
}

TEST_CASE("a long prompt keeps its head and the end token") {
  const ClipTokenizer tokenizer = ClipTokenizer::load(parity_file("pocket_tokenizer"));
  std::string prompt;
  for (int i = 0; i < 40; ++i) prompt += "star ";
  const Ids ids = tokenizer.encode(prompt), word = tokenizer.encode("star");
  CHECK(ids.size() == kLength);
  CHECK(ids.back() == word[2]);
  CHECK(std::count(ids.begin(), ids.end(), word[1]) == kLength - 2);
}

TEST_CASE("the padding token comes from the tokenizer's own files") {
  const TemporaryFolder folder;
  write_pocket_tokenizer(folder.path(), kWords, kLength);
  for (const char* file : {"special_tokens_map.json", "tokenizer_config.json"}) {
    auto json = read_json(folder.file(file));
    json["pad_token"] = "!";
    write_json(folder.file(file), json);
  }
  const ClipTokenizer tokenizer = ClipTokenizer::load(folder.path());
  const Ids empty = tokenizer.encode("");
  CHECK(empty == frame({}, empty[0], empty[0] + 1, 0, kLength));
  // A special stands for itself in a text, so "!" is 0 and not "!</w>".
  CHECK(tokenizer.encode("star!")[2] == 0);
}

TEST_CASE("a folder with only the vocabulary and the merges takes CLIP's specials and 77 tokens") {
  const TemporaryFolder folder;
  write_pocket_tokenizer(folder.path(), kWords, kLength);
  std::filesystem::remove(folder.file("special_tokens_map.json"));
  std::filesystem::remove(folder.file("tokenizer_config.json"));
  const ClipTokenizer tokenizer = ClipTokenizer::load(folder.path());
  CHECK(tokenizer.max_length() == 77);
  CHECK(tokenizer.encode("star")[1] == ClipTokenizer::load(parity_file("pocket_tokenizer")).encode("star")[1]);
}

TEST_CASE("damaged tokenizer folders are refused by the file's name") {
  const TemporaryFolder folder;
  check_error(
      ExitCode::kData, [&] { ClipTokenizer::load(folder.path()); }, "vocab.json");
  check_error(
      ExitCode::kData, [&] { with_changed_file(folder, "vocab.json", "{\"a\": 1"); }, "vocab.json");
  check_error(
      ExitCode::kData, [&] { with_changed_file(folder, "vocab.json", "{\"a\": 1}"); }, "vocab.json does not have");
  check_error(
      ExitCode::kData, [&] { with_changed_file(folder, "merges.txt", "a b c\n"); }, "merges.txt", "a b c");
  check_error(
      ExitCode::kData, [&] { with_changed_file(folder, "merges.txt", "z q\n"); }, "merges.txt", "zq");
  check_error(
      ExitCode::kData, [&] { with_changed_file(folder, "tokenizer_config.json", "{\"model_max_length\": 1}"); }, "model_max_length", "1");
  check_error(
      ExitCode::kData, [&] { with_changed_file(folder, "special_tokens_map.json", "{\"pad_token\": {}}"); }, "special_tokens_map.json");
}

TEST_CASE("text that is not UTF-8 is refused") {
  const ClipTokenizer tokenizer = ClipTokenizer::load(parity_file("pocket_tokenizer"));
  check_error(
      ExitCode::kData, [&] { tokenizer.encode("star \xff"); }, "bytes");
  check_error(
      ExitCode::kData, [&] { tokenizer.encode("\xed\xa0\x80"); }, "bytes");
}

// Needs SD v1.5's vocabulary: NABLA_SD15_DIR names a folder with tokenizer/ (tests/oracles/clip_vocabulary.py makes one).
TEST_CASE("golden token ids of SD v1.5" * doctest::skip(std::getenv("NABLA_SD15_DIR") == nullptr)) {
  const ClipTokenizer tokenizer = ClipTokenizer::load(std::string(std::getenv("NABLA_SD15_DIR")) + "/tokenizer");
  const std::vector<std::pair<std::string, Ids>> golden{
      {"", {}},
      {"a photo of a cat", {320, 1125, 539, 320, 2368}},
      {"A cat's 123 toys!!", {320, 2368, 568, 272, 273, 274, 7162, 748}},
      {"hedgehog", {21940}},
      {"kangaroo", {25513}},
      {"a photo of an astronaut riding a horse on mars", {320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496}},
      {"don't  stop\n me", {847, 713, 1691, 614}},
      {"snow_man 3.5%", {2583, 318, 786, 274, 269, 276, 260}},
      {"na\u00efve caf\u00e9 \u2014 d\u00e9j\u00e0 vu", {1097, 35689, 563, 15304, 2005, 25466, 73, 21259, 13230}},
      {"\u65e5\u672c\u306e\u685c", {39121, 44353, 21575, 162, 94, 506}},
  };
  for (const auto& [text, ids] : golden) {
    INFO(text);
    CHECK(tokenizer.encode(text) == frame(ids, 49406, 49407, 49407, 77));
  }
  check_against_oracle(tokenizer, "sd");
}
