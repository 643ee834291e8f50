#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace nabla {

// Random numbers of a fuzzing run; the same seed gives the same inputs.
class FuzzRandom {
 public:
  explicit FuzzRandom(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }

 private:
  std::uint64_t state_;
};

// What a parser made of an input.
enum class FuzzOutcome { kAccepted, kRefused };

// A parser of bytes that others made. `parse` returns kRefused, or throws an Error of `refusal`, for what it does not take; anything else is a finding:
// another exception, a crash, a read behind the input, or one allocation out of proportion to it.
struct FuzzTarget {
  std::string name;
  std::vector<std::string> seeds;  // good inputs that mutations start from
  std::function<FuzzOutcome(std::span<const std::byte>)> parse;
  int refusal = 3;                                           // exit code
  std::size_t bytes_a_byte = 256;                            // largest allocation for each byte of the input, beside 64 KiB
  std::function<void(std::string&, FuzzRandom&)> mend = {};  // makes checksums right again, to get behind them; used on half of the inputs
};

// main() of a fuzzing program: [--count N] [--seed S] [NAME...]; a JSON line a target on standard output, exit code 1 with the input in a file at the first
// finding.
int fuzz_main(int argc, char** argv, const std::vector<FuzzTarget>& targets);

}  // namespace nabla
