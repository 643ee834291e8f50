#pragma once

#include "actors/progress.h"
#include "actors/workbench.h"
#include "protocol/messages.h"

#include <cstdint>

namespace nabla {

// Samples the pictures of an evaluation ticket with the installed weights and judges them: reward, true reward, checker. Blocks no training.
EvaluationResult evaluate_ticket(Workbench& bench, const Ticket& ticket, Progress& progress);

}  // namespace nabla
