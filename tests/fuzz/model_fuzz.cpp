// Mutations of the files of a model: weights, tokenizers, configurations, and prompts against the tokenizers.
#include "common/diffusion/clip_text.h"
#include "common/diffusion/open_clip_tokenizer.h"
#include "common/diffusion/pocket_tokenizer.h"
#include "common/diffusion/tokenizer.h"
#include "common/diffusion/transition_kernel.h"
#include "common/diffusion/unet.h"
#include "common/diffusion/vae.h"
#include "common/diffusion/word_piece_tokenizer.h"
#include "common/files.h"
#include "common/json_file.h"
#include "common/safetensors.h"
#include "common/torch_file.h"
#include "tests/common/temporary_folder.h"
#include "tests/fuzz/fuzzing.h"

#include <nlohmann/json.hpp>

#include <fstream>

namespace nabla {

namespace {

std::string text_of(std::span<const std::byte> input) { return {reinterpret_cast<const char*>(input.data()), input.size()}; }

// Touches both ends of every tensor, so that one outside of the input ends the program.
FuzzOutcome parse_safetensors(std::span<const std::byte> input) {
  static volatile unsigned seen = 0;
  const auto file = SafetensorsFile::parse(input, "fuzzed.safetensors");
  for (const auto& [name, info] : file->tensors()) {
    const auto bytes = file->bytes(name);
    if (!bytes.empty()) seen = seen + std::to_integer<unsigned>(bytes.front()) + std::to_integer<unsigned>(bytes.back());
  }
  return FuzzOutcome::kAccepted;
}

FuzzOutcome parse_torch(std::span<const std::byte> input) {
  static volatile unsigned seen = 0;
  const TorchFile file = TorchFile::parse(input, "fuzzed.pt");
  for (const auto& [name, tensor] : file.tensors()) {
    if (!tensor.bytes.empty())
      seen = seen + std::to_integer<unsigned>(tensor.bytes.front()) + std::to_integer<unsigned>(tensor.bytes.back());
  }
  return FuzzOutcome::kAccepted;
}

// Folders of a tokenizer in memory (/dev/shm where there is one), of which one file is fuzzed.
class TokenizerFolder {
 public:
  TokenizerFolder() { write_pocket_tokenizer(folder_.path(), {"star", "stars", "red"}, 16); }
  std::string file(const std::string& name) const { return folder_.file(name); }
  const std::string& path() const { return folder_.path(); }
  std::string text(const std::string& name) const { return read_file(file(name), 1 << 20); }
  // Not durable, unlike write_file: a million times that would be for nothing.
  void replace(const std::string& name, std::span<const std::byte> content) const {
    std::ofstream(file(name), std::ios::binary | std::ios::trunc)
        .write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
  }

 private:
  TemporaryFolder folder_;
};

const TokenizerFolder& good_folder() {
  static const TokenizerFolder folder;
  return folder;
}

constexpr const char* kWordPieces = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nred\n##s\n\n";

template <int Which>
FuzzOutcome parse_tokenizer_file(std::span<const std::byte> input) {
  static const TokenizerFolder folder;
  constexpr const char* kFiles[] = {"vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"};
  folder.replace(kFiles[Which], input);
  ClipTokenizer::load(folder.path()).encode("a red star");
  return FuzzOutcome::kAccepted;
}

FuzzOutcome parse_word_pieces(std::span<const std::byte> input) {
  static const TokenizerFolder folder;
  folder.replace("vocab.txt", input);
  WordPieceTokenizer(folder.file("vocab.txt")).encode("a red star");
  return FuzzOutcome::kAccepted;
}

FuzzOutcome parse_prompt(std::span<const std::byte> input) {
  static const ClipTokenizer clip = ClipTokenizer::load(good_folder().path());
  static const OpenClipTokenizer open_clip(good_folder().path());
  static const WordPieceTokenizer word_piece = [] {
    good_folder().replace("vocab.txt", std::as_bytes(std::span(std::string_view(kWordPieces))));
    return WordPieceTokenizer(good_folder().file("vocab.txt"));
  }();
  const std::string text = text_of(input);
  const bool framed = clip.encode(text).size() == 16 && open_clip.encode(text).size() == 16 && word_piece.encode(text).size() >= 2;
  if (!framed) throw std::logic_error("a prompt is not framed");
  return FuzzOutcome::kAccepted;
}

template <class Config>
FuzzOutcome parse_model_config(std::span<const std::byte> input) {
  Config::from_json(nlohmann::json(parse_json(text_of(input), "fuzzed.json")), "fuzzed.json");
  return FuzzOutcome::kAccepted;
}

std::string torch_file(const char* name) { return read_file(std::string(NABLA_PARITY_DATA) + "/torch_files/" + name, 1 << 20); }

std::string safetensors_seed() {
  const std::vector<std::byte> bytes(96);
  const TokenizerFolder& folder = good_folder();
  write_safetensors(folder.file("seed"), {{"a.weight", {DType::kF32, {2, 3}, std::span(bytes).subspan(0, 24)}},
                                          {"b", {DType::kBF16, {}, std::span(bytes).subspan(0, 2)}},
                                          {"empty", {DType::kI64, {0, 4}, {}}}});
  return folder.text("seed");
}

std::vector<FuzzTarget> targets() {
  constexpr std::size_t kOfTables = 4096;  // hash tables of small vocabularies
  const TokenizerFolder& folder = good_folder();
  return {{"safetensors", {safetensors_seed()}, parse_safetensors},
          {"torch", {torch_file("dtypes.pt"), torch_file("views.pth"), torch_file("module.bin")}, parse_torch},
          {"vocabulary", {folder.text("vocab.json")}, parse_tokenizer_file<0>, 3, kOfTables},
          {"merges", {folder.text("merges.txt")}, parse_tokenizer_file<1>, 3, kOfTables},
          {"tokenizer_config", {folder.text("tokenizer_config.json")}, parse_tokenizer_file<2>, 3, kOfTables},
          {"special_tokens", {folder.text("special_tokens_map.json")}, parse_tokenizer_file<3>, 3, kOfTables},
          {"word_pieces", {kWordPieces}, parse_word_pieces, 3, kOfTables},
          {"prompt",
           {"A large \u00c9CLAIR's 3 &amp; &EACUTE; \u201cred\u201d \x1b[36;44mstar <|endoftext|>",
            "\ufb01ne \uff46\uff55ll [SEP] \u65e5\u672c &#x41; <end_of_text> \u03a3\u0391\u03a3"},
           parse_prompt,
           3,
           kOfTables},
          {"unet_config", {UNetConfig().to_json().dump()}, parse_model_config<UNetConfig>, 3, kOfTables},
          {"vae_config", {VaeConfig().to_json().dump()}, parse_model_config<VaeConfig>, 3, kOfTables},
          {"text_config", {ClipTextConfig().to_json().dump()}, parse_model_config<ClipTextConfig>, 3, kOfTables},
          {"scheduler_config", {SchedulerConfig().to_json().dump()}, parse_model_config<SchedulerConfig>, 3, kOfTables}};
}

}  // namespace

}  // namespace nabla

int main(int argc, char** argv) { return nabla::fuzz_main(argc, argv, nabla::targets()); }
