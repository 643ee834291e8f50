#pragma once

#include "common/image_png.h"
#include "learner/learner.h"

#include <cstddef>
#include <string>
#include <vector>

namespace nabla {

// The pictures a gallery shows: at most `limit`, first one noise of every prompt, then the next, in picture order. prompts: one a picture, equal ones
// are neighbours.
std::vector<std::size_t> choose_pictures(const std::vector<std::string>& prompts, std::size_t limit);

// Same prompts and noise before and after: two labelled halves of enlarged pictures with prompt and reward under each. `after` without pictures leaves
// its half out. `before` must have pictures.
RgbImage draw_gallery(const EvaluationSummary& before, const EvaluationSummary& after);
// Writes gallery.png of the first and the last evaluation with text chunks (prompts, rewards, run id).
void write_gallery(const std::string& path, const RunSummary& summary);

}  // namespace nabla
