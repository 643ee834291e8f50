#include "launch/truth/result_file.h"

#include "common/error.h"
#include "common/json_file.h"

#include <torch/types.h>

#include <algorithm>
#include <filesystem>

namespace nabla::truth {

namespace {

const std::string kPrefix = "truth.";
constexpr const char* kIdentity[] = {"tier", "case", "seed", "expected"};

// Names that a safetensors file and a person both take.
std::string tensor_name(const std::string& name, std::uint64_t seed) { return fmt::format("samples.{}.{}", name, seed); }

std::map<std::string, nlohmann::ordered_json> read_results(const std::string& path) {
  std::map<std::string, nlohmann::ordered_json> results;
  for (const auto& [key, text] : load_metadata(path))
    if (key.starts_with(kPrefix)) results[key.substr(kPrefix.size())] = parse_json(text, path);
  if (results.empty()) throw data_error("{} holds no results of this command", path);
  return results;
}

}  // namespace

ResultFile::ResultFile(std::string path) : path_(std::move(path)) {
  if (path_.empty() || !std::filesystem::exists(path_)) return;
  try {
    results_ = read_results(path_);
    // Copies, because the file under the views is replaced.
    for (const auto& [name, tensor] : load_tensors(path_)) samples_[name] = tensor.clone();
  } catch (const Error& error) {
    throw usage_error("[truth] --out: {}; it is not overwritten: name another file, or remove this one", error.what());
  }
}

const nlohmann::ordered_json* ResultFile::find(const std::string& fingerprint) const {
  const auto found = results_.find(fingerprint);
  return found == results_.end() ? nullptr : &found->second;
}

void ResultFile::add(const std::string& fingerprint, const Outcome& outcome) {
  const auto result = to_json(outcome);
  // Another case or build of this name: its final states are replaced, so it has to run again.
  std::erase_if(results_, [&](const auto& entry) {
    return std::all_of(std::begin(kIdentity), std::end(kIdentity), [&](const char* key) { return entry.second.at(key) == result.at(key); });
  });
  results_[fingerprint] = result;
  if (outcome.samples.defined() && outcome.expectation == Expectation::kHold)
    samples_[tensor_name(outcome.name, outcome.seed)] = outcome.samples.to(at::kFloat);
  write();
}

void ResultFile::set_samples(const std::string& name, std::uint64_t seed) {
  samples_["samples"] = samples_.at(tensor_name(name, seed));
  write();
}

void ResultFile::write() const {
  if (path_.empty()) return;
  std::map<std::string, std::string> metadata;
  for (const auto& [fingerprint, result] : results_) metadata[kPrefix + fingerprint] = result.dump();
  save_tensors(path_, samples_, metadata);
}

}  // namespace nabla::truth
