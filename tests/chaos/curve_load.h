#pragma once

#include <cstdint>

namespace nabla::chaos {

struct CurveLoad {
  std::int64_t records = 0, refused = 0;
  std::int64_t record_bytes = 0;  // of one, its tensors
  double mb_per_s = 0;
};

// One actor with a key delivers records over CURVE on loopback as fast as it can, to a learner that validates, logs (durability pagecache) and acknowledges
// them. The records are made before.
CurveLoad load_with_curve(std::int64_t tickets);

}  // namespace nabla::chaos
