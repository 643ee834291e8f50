#include "actors/rewards/lantern.h"

#include "common/pocket/lantern.h"

#include <torch/types.h>

namespace nabla {

Tensor LanternReward::score(const Tensor& images, const std::vector<std::string>&) {
  require_pictures("lantern", images);
  return pocket::lantern_preference(images);
}

}  // namespace nabla
