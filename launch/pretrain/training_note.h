#pragma once

#include "launch/pretrain/pretrain_options.h"
#include "launch/pretrain/trainer.h"

#include <nlohmann/json.hpp>

#include <string>

namespace nabla {

// What made a part of the model (seed, steps, last smoothed loss, seconds, date) and how good it is, as a section of options.out/training.json.
// Sections of other parts stay.
void note_training(const PretrainOptions& options, const std::string& part, const Trainer& trainer, const nlohmann::ordered_json& held_out);

// Today in UTC, like 2026-11-27.
std::string today();

}  // namespace nabla
