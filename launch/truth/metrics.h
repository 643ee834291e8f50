#pragma once

#include "launch/truth/mixture.h"

#include <cstdint>
#include <vector>

namespace nabla::truth {

// Distances of samples [n,d] from what they should be.

// Shares of samples by the mode that most likely made them [K]; no numbers if a sample is none.
Tensor mode_weights(const Mixture& mixture, const Tensor& samples);
// KL(found || expected); a mode that no sample fell into counts 0.
double kl_of_weights(const Tensor& found, const Tensor& expected);
// Mean over evenly spaced directions of the plane of the distance between the sorted projections; both sets have the same size.
double sliced_w1(const Tensor& a, const Tensor& b);
// Maximum mean discrepancy for a Gaussian kernel of the median distance's width, unbiased, its root; 0 where the square comes out negative.
// Of the first few thousand samples each.
double mean_discrepancy(const Tensor& a, const Tensor& b);

}  // namespace nabla::truth
