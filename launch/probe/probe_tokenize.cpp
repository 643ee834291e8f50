#include "common/error.h"
#include "launch/probe/probe_setup.h"

#include <nlohmann/json.hpp>

namespace nabla {

namespace {

void check_tokenizer(const ProbeOptions& options) {
  const std::string& name = options.tokenizer;
  if (name == "clip-open" || name == "bert")
    throw usage_error("[probe] the tokenizer '{}' is not in this version of nabla; take clip", name);
  if (name != "clip") throw usage_error("[probe] there is no tokenizer '{}'; known is clip", name);
  if (options.model.empty()) throw usage_error("[probe] the tokenizer clip reads its vocabulary from a model; give its folder by --model");
}

}  // namespace

nlohmann::ordered_json probe_tokenize(const ProbeOptions& options) {
  check_tokenizer(options);
  if (options.text.has_value() == !options.file.empty()) throw usage_error("[probe] tokenize takes either --text or --file");
  const ClipTokenizer tokenizer = open_model(options).load_tokenizer();
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const auto& text : options.text ? std::vector<std::string>{*options.text} : read_lines(options.file)) {
    rows.push_back({{"text", text}, {"ids", tokenizer.encode(text)}});
  }
  return rows;
}

}  // namespace nabla
