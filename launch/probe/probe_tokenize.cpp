#include "common/diffusion/hub_cache.h"
#include "common/diffusion/open_clip_tokenizer.h"
#include "common/diffusion/word_piece_tokenizer.h"
#include "common/error.h"
#include "launch/probe/probe_setup.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>

namespace nabla {

namespace {

using Ids = std::vector<std::int64_t>;

// Where the vocabulary is: the file or folder that is named, else the model's folder tokenizer/.
std::string vocabulary_path(const ProbeOptions& options) {
  namespace fs = std::filesystem;
  if (options.vocabulary.empty() && options.model.empty()) {
    throw usage_error("[probe] the tokenizer {} needs a vocabulary; give a model by --model or its files by --vocabulary",
                      options.tokenizer);
  }
  if (!options.vocabulary.empty()) return options.vocabulary;
  const fs::path model = resolve_model_path(options.model);
  if (!fs::is_directory(model)) return (model.parent_path() / "tokenizer").string();
  return fs::is_directory(model / "tokenizer") ? (model / "tokenizer").string() : model.string();
}

// Rows of one length: the tokenizer pads no text to more than the longest of its batch.
std::vector<Ids> padded(std::vector<Ids> rows, std::int64_t pad) {
  std::size_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  for (auto& row : rows) row.resize(longest, pad);
  return rows;
}

std::vector<Ids> encode_all(const ProbeOptions& options, const std::vector<std::string>& texts) {
  const auto rows = [&](const auto& tokenizer) {
    std::vector<Ids> ids;
    for (const auto& text : texts) ids.push_back(tokenizer.encode(text));
    return ids;
  };
  if (options.tokenizer == "clip-open") return rows(OpenClipTokenizer(vocabulary_path(options)));
  if (options.tokenizer == "bert") {
    const WordPieceTokenizer tokenizer(vocabulary_path(options));
    return padded(rows(tokenizer), tokenizer.pad());
  }
  if (options.tokenizer != "clip")
    throw usage_error("[probe] there is no tokenizer '{}'; known are clip, clip-open and bert", options.tokenizer);
  const bool from_model = options.vocabulary.empty() && !options.model.empty();
  return rows(from_model ? open_model(options).load_tokenizer() : ClipTokenizer::load(vocabulary_path(options)));
}

}  // namespace

nlohmann::ordered_json probe_tokenize(const ProbeOptions& options) {
  if (options.text.has_value() == !options.file.empty()) throw usage_error("[probe] tokenize takes either --text or --file");
  const std::vector<std::string> texts = options.text ? std::vector<std::string>{*options.text} : read_lines(options.file);
  const std::vector<Ids> ids = encode_all(options, texts);
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < texts.size(); ++i) rows.push_back({{"text", texts[i]}, {"ids", ids[i]}});
  return rows;
}

}  // namespace nabla
