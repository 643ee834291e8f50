#include "actors/rewards/mean_red.h"

#include <torch/types.h>

namespace nabla {

Tensor MeanRedReward::score(const Tensor& images, const std::vector<std::string>&) {
  require_pictures("mean-red", images);
  return (images.select(1, 0) - images.select(1, 2)).mean({1, 2});
}

}  // namespace nabla
