#pragma once

#include "common/diffusion/transition_kernel.h"
#include "launch/truth/mixture.h"

#include <cstddef>
#include <vector>

namespace nabla::truth {

// The frozen base model of a mixture: its noise prediction at every level in closed form. Level j is the state before transition j.
class ReferenceModel {
 public:
  ReferenceModel(const Mixture& prior, const StepTable& table);

  struct Prediction {
    Tensor eps;       // [R,d]
    Tensor jacobian;  // d eps / d x [R,d,d], symmetric
  };
  Tensor eps(std::size_t level, const Tensor& x) const;  // [R,d] -> [R,d]
  Prediction predict(std::size_t level, const Tensor& x) const;

 private:
  struct Level {
    MixtureDensity density;
    double scale;  // eps = scale * score
  };
  std::vector<Level> levels_;
};

// M v of each row: [R,d,d], [R,d] -> [R,d].
Tensor times(const Tensor& matrices, const Tensor& vectors);

}  // namespace nabla::truth
