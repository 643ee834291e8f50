#pragma once

#include "launch/truth/outcome.h"

#include <nlohmann/json.hpp>

#include <map>
#include <string>

namespace nabla::truth {

// What `nabla truth --out FILE` leaves: final states of the trained policies as tensors "samples.<case>.<seed>" (of one case alone also "samples"),
// and every finished trial's result in the file's metadata, so that a stopped table goes on where it was. Written whole after each trial.
class ResultFile {
 public:
  // Reads what an earlier call left. usage_error on a file of another kind, which is not overwritten.
  explicit ResultFile(std::string path);

  // The result of a trial by its fingerprint; null if it has not run, or with another version of this program.
  const nlohmann::ordered_json* find(const std::string& fingerprint) const;
  // In place of an earlier result of this tier, name, seed and expectation.
  void add(const std::string& fingerprint, const Outcome& outcome);
  // Also stores the final states of this case, which has run, as "samples".
  void set_samples(const std::string& name, std::uint64_t seed);

 private:
  void write() const;

  std::string path_;
  std::map<std::string, nlohmann::ordered_json> results_;
  TensorMap samples_;
};

}  // namespace nabla::truth
