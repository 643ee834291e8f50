#pragma once

#include "launch/truth/measurement.h"

#include <map>
#include <string>

namespace nabla::truth {

// Trains a case and measures it, each case once: several trials of a table need the same one.
class KnownMeasurements {
 public:
  const Measurement& of(TruthCase problem);

 private:
  std::map<std::string, Measurement> measurements_;  // by fingerprint
};

}  // namespace nabla::truth
