#pragma once

#include "common/config/run_config.h"

#include <string>
#include <vector>

namespace nabla {

// The values of experiment.prompt_fn: pocket, file and the prompt functions of the official release, whose lists are files of the user's
// (experiment.prompt_file); only simple_animals comes with a list.
const std::vector<std::string>& prompt_function_names();

// What experiment.prompt_file must name for this prompt function, for messages; empty if the function needs none.
std::string needed_prompt_file(const std::string& prompt_fn);

struct PromptLists {
  std::vector<std::string> training, evaluation;
  std::string evaluation_origin;  // the file or folder of the evaluation list, for messages
};

// The lists of experiment.prompt_fn, held-out prompts apart where the release holds some out (the first 10 of an HPDv2 style, the first 2 of
// a DrawBench category); elsewhere the evaluation list is the training list. data_error naming the file and the place in it.
PromptLists load_prompt_lists(const RunConfig& config);

}  // namespace nabla
