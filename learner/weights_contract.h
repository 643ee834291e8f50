#pragma once

#include "common/config/run_config.h"

#include <string>
#include <vector>

namespace nabla {

// Names of the options that differ and decide the weights, as "training.lr was 0.001, is 0.01".
std::vector<std::string> differences_in_contract(const RunConfig& before, const RunConfig& now);

// XXH3-128 over everything that decides the weights of a run: base model, LoRA, objective, optimiser, sampler, prompts, S and seed. Equal
// digests: the records of one run can be replayed in the other, version by version.
std::string weights_contract(const RunConfig& config, const std::string& base_digest, const std::string& prompts_digest);

}  // namespace nabla
