#pragma once

#include "learner/checkpoint/checkpoint.h"

#include <nlohmann/json_fwd.hpp>

namespace nabla {

// state.json: all of a checkpoint but its tensors, its pictures and its configuration.
nlohmann::ordered_json state_json(const Checkpoint& checkpoint);
// Throws what the JSON library throws where something is missing or of another type.
Checkpoint checkpoint_of(const nlohmann::ordered_json& json);

}  // namespace nabla
