#include "common/prompt_source.h"

#include "common/digest.h"
#include "common/error.h"
#include "common/files.h"
#include "common/philox.h"
#include "common/prompt_functions.h"
#include "common/utf8.h"

#include <string_view>

namespace nabla {

namespace {

constexpr std::size_t kMaxPromptFile = std::size_t{64} << 20;
constexpr std::size_t kMaxPromptBytes = 4096;

}  // namespace

std::string checked_prompt(std::string text, const std::string& place) {
  if (text.empty()) throw data_error("[prompts] {} is empty", place);
  if (text.size() > kMaxPromptBytes)
    throw data_error("[prompts] {}: the prompt has {} bytes; at most {} are taken", place, text.size(), kMaxPromptBytes);
  if (!is_utf8(text)) throw data_error("[prompts] {}: the prompt is not UTF-8; save the file as UTF-8", place);
  return text;
}

std::vector<std::string> prompt_lines(const std::string& path) {
  const std::string content = read_file(path, kMaxPromptFile);
  std::vector<std::string> prompts;
  std::string_view rest = content;
  for (std::int64_t line_number = 1; !rest.empty(); ++line_number) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) prompts.push_back(checked_prompt(std::string(line), fmt::format("{}:{}", path, line_number)));
  }
  if (prompts.empty()) throw data_error("[prompts] {} holds no prompt; one a line is expected", path);
  return prompts;
}

PromptSource::PromptSource(std::vector<std::string> prompts) : prompts_(std::move(prompts)) {
  if (prompts_.empty()) throw data_error("[prompts] the list of prompts is empty; give at least one");
}

PromptSource PromptSource::from_file(const std::string& path) { return PromptSource(prompt_lines(path)); }

Prompt PromptSource::at(std::int64_t index) const {
  if (index < 0 || index >= size()) throw failure("[prompts] index {} is outside the list of {} prompts", index, size());
  return {index, prompts_[static_cast<std::size_t>(index)]};
}

Prompt PromptSource::draw(std::uint64_t seed, std::int64_t slot) const {
  Philox stream(seed, RandomPurpose::kPrompt, static_cast<std::uint64_t>(slot));
  return at(stream.below(static_cast<std::uint32_t>(size())));
}

std::string PromptSource::digest() const {
  Digest digest;
  for (const auto& prompt : prompts_) digest.update(prompt).update("\n");
  return digest.hex();
}

RunPrompts open_prompts(const RunConfig& config) {
  PromptLists lists = load_prompt_lists(config);
  if (!config.eval.prompt_file.empty()) {
    lists.evaluation = prompt_lines(config.eval.prompt_file);
    lists.evaluation_origin = config.eval.prompt_file;
  }
  RunPrompts prompts{PromptSource(std::move(lists.training)), PromptSource(std::move(lists.evaluation))};
  if (prompts.evaluation.size() < config.eval.prompts) {
    throw data_error("[prompts] {} has {} prompts, eval.prompts asks for {}; lower eval.prompts or name a longer list in eval.prompt_file",
                     lists.evaluation_origin, prompts.evaluation.size(), config.eval.prompts);
  }
  return prompts;
}

}  // namespace nabla
