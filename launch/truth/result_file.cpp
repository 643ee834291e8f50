#include "launch/truth/result_file.h"

#include "common/error.h"
#include "common/json_file.h"
#include "common/log.h"

#include <torch/types.h>

#include <filesystem>

namespace nabla::truth {

namespace {

const std::string kPrefix = "truth.";

// Names that a safetensors file and a person both take.
std::string tensor_name(const Outcome& outcome) { return fmt::format("samples.{}.{}", outcome.name, outcome.seed); }

}  // namespace

ResultFile::ResultFile(std::string path) : path_(std::move(path)) {
  if (path_.empty() || !std::filesystem::exists(path_)) return;
  try {
    for (const auto& [key, text] : load_metadata(path_))
      if (key.starts_with(kPrefix)) results_[key.substr(kPrefix.size())] = parse_json(text, path_);
    if (results_.empty()) return;
    // Copies, because the file under the views is replaced.
    for (const auto& [name, tensor] : load_tensors(path_)) samples_[name] = tensor.clone();
  } catch (const Error& error) {
    log_warning("[truth] {} holds no results of this command and is replaced: {}", path_, error.what());
    results_.clear();
    samples_.clear();
  }
}

const nlohmann::ordered_json* ResultFile::find(const std::string& fingerprint) const {
  const auto found = results_.find(fingerprint);
  return found == results_.end() ? nullptr : &found->second;
}

void ResultFile::add(const std::string& fingerprint, const Outcome& outcome) {
  results_[fingerprint] = to_json(outcome);
  if (outcome.samples.defined() && outcome.expectation == Expectation::kHold)
    samples_[tensor_name(outcome)] = outcome.samples.to(at::kFloat);
  write();
}

void ResultFile::set_samples(const Tensor& samples) {
  samples_["samples"] = samples.to(at::kFloat);
  write();
}

void ResultFile::write() const {
  if (path_.empty()) return;
  std::map<std::string, std::string> metadata;
  for (const auto& [fingerprint, result] : results_) metadata[kPrefix + fingerprint] = result.dump();
  save_tensors(path_, samples_, metadata);
}

}  // namespace nabla::truth
