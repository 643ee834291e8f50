#pragma once

#include "common/config/run_config.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

struct Prompt {
  std::int64_t index = 0;
  std::string text;
};

// A fixed list of prompts; at() is a pure function of the index. Immutable, so free for all threads.
class PromptSource {
 public:
  explicit PromptSource(std::vector<std::string> prompts);
  // One prompt a line, UTF-8; empty lines are skipped, a final carriage return is dropped. data_error naming file and line for text that is
  // not UTF-8 or longer than 4096 bytes, and for a file without prompts.
  static PromptSource from_file(const std::string& path);

  std::int64_t size() const { return static_cast<std::int64_t>(prompts_.size()); }
  // 0 <= index < size(), else failure.
  Prompt at(std::int64_t index) const;
  // The prompt of a training slot: uniform, from the stream (seed, kPrompt, slot).
  Prompt draw(std::uint64_t seed, std::int64_t slot) const;
  // XXH3-128 of the list.
  std::string digest() const;

 private:
  std::vector<std::string> prompts_;
};

// The prompt itself. data_error naming `place` for text that is not UTF-8, longer than 4096 bytes or empty.
std::string checked_prompt(std::string text, const std::string& place);
// The lines of a file that hold text, as PromptSource::from_file takes them.
std::vector<std::string> prompt_lines(const std::string& path);

// What a run trains on and what it is judged by.
struct RunPrompts {
  PromptSource training, evaluation;
};

// The lists of experiment.prompt_fn (prompt_functions.h; pocket: <pretrained.model>/prompts/{train,eval}.txt). eval.prompt_file replaces the
// evaluation list; without it a run from a file is judged on the head of that file. data_error when the evaluation list has fewer than eval.prompts.
RunPrompts open_prompts(const RunConfig& config);

}  // namespace nabla
