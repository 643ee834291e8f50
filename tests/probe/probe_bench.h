#pragma once

#include "common/diffusion/tensors.h"
#include "tests/common/temporary_folder.h"
#include "tests/diffusion/parity_data.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace nabla {

// What `nabla probe WORDS...` did.
struct ProbeOutcome {
  int code = 0;
  std::string printed;  // on standard output
  std::string message;  // of the error, if there was one

  // Standard output was exactly one JSON object on one line.
  nlohmann::ordered_json facts() const;
};

// Runs the subcommand in this process, as the application does.
ProbeOutcome run_probe(std::vector<std::string> words);

// A folder with a model of tiny networks from tests/data/parity, an input file and an output file.
class ProbeBench {
 public:
  // Networks by their folder in tests/data/parity.
  struct Networks {
    std::string unet = "unet_one_layer", vae = "vae_one_layer", text_encoder = "text_quick_gelu";
  };
  explicit ProbeBench(const Networks& networks);
  ProbeBench() : ProbeBench(Networks()) {}

  std::string file(const std::string& name) const { return folder_.file(name); }
  std::string model() const { return folder_.file("model"); }
  void set_scheduler(const nlohmann::ordered_json& config) const;
  void write_input(const TensorMap& tensors) const { save_tensors(file("in.safetensors"), tensors); }

  // `nabla probe VERB --in in.safetensors --out out.safetensors WORDS...`
  ProbeOutcome run(const std::string& verb, std::vector<std::string> words) const;
  // The same, which must go well; returns the output tensors.
  TensorMap compute(const std::string& verb, const std::vector<std::string>& words) const;

 private:
  TemporaryFolder folder_;
};

// The named tensors of a parity bundle.
TensorMap bundle_tensors(const std::string& bundle, const std::vector<std::string>& names);

// `message` holds every part.
void check_mentions(const std::string& message, const std::vector<std::string>& parts);

}  // namespace nabla
