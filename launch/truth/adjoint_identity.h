#pragma once

#include "launch/truth/line_truth.h"

namespace nabla::truth {

// Which derivative of the reference's mean stands in the identity.
enum class MeanJacobian { kTrue, kIdentity };  // kIdentity: that of x / sqrt(alpha), as if the network did not depend on x

// docs/truth.md: d log flow / dx = J' E_{P*(y|x)}[d log flow / dy] with P* = P# flow, at every level of the chain. The left side are
// differences of the exact log-flow, the right side uses the right side of the level after; J' is the product that actors take. Returns the
// largest relative error of a level, in the mean square under the reference's law there.
double adjoint_identity_error(const LineTruth& truth, const StepTable& table, const ReferenceModel& reference, MeanJacobian kind);

}  // namespace nabla::truth
