#pragma once

#include "common/image_png.h"
#include "learner/learner.h"

#include <string>

namespace nabla {

// Same prompts and noise before and after: two labelled halves of enlarged pictures with prompt and reward under each.
RgbImage draw_gallery(const EvaluationSummary& before, const EvaluationSummary& after);
// Writes gallery.png with text chunks (prompts, rewards, run id).
void write_gallery(const std::string& path, const RunSummary& summary);

}  // namespace nabla
