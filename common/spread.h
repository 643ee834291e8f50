#pragma once

#include <vector>

namespace nabla {

struct Spread {
  double mean = 0, deviation = 0;  // of the values themselves (divided by their number); 0 for none
};
Spread spread_of(const std::vector<double>& values);

}  // namespace nabla
