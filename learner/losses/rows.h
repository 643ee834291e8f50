#pragma once

#include "learner/losses/objective.h"

namespace nabla {

// What the objectives have in common. Fields are [R,C,h,w], columns [R].

Tensor per_row(const Tensor& column);         // -> [R,1,1,1]
Tensor row_mean_square(const Tensor& field);  // -> [R]
Tensor row_sum(const Tensor& field);          // -> [R]

Tensor row_norms(const Tensor& field);  // -> [R]
// Rows that are longer than `limit`, brought to that norm.
Tensor scale_down_rows(const Tensor& field, double limit);

// Sum over the slots of the weighted means of their rows.
Tensor sum_over_slots(const TransitionBatch& batch, const Tensor& rows);
// The same of the rows' root mean squares, detached.
Tensor norm_over_slots(const TransitionBatch& batch, const Tensor& field);

// Mean square of eps_theta - eps_anchor [R].
Tensor unet_regularizer(const TransitionBatch& batch, const Predictions& predictions);

// Time weight of a forward residual that is written as a difference of scores.
Tensor weigh_in_time(const TransitionBatch& batch, const Tensor& residual, TimeWeighting weighting);

// Mean over the terminal rows' slots of the square of `field` there.
Tensor terminal_loss(const TransitionBatch& batch, const Tensor& field);

}  // namespace nabla
