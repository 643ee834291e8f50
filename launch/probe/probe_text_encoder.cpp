#include "common/device/device.h"
#include "common/error.h"
#include "launch/probe/probe_setup.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace nabla {

namespace {

void check_ids(const TensorInput& input, const Tensor& ids, const ClipTextConfig& config) {
  if (ids.size(1) > config.max_position_embeddings) {
    throw data_error("[probe] {}: tensor 'input_ids' has shape {}, expected [N,L] with L up to {}", input.path(), shape_string(ids),
                     config.max_position_embeddings);
  }
  const auto lowest = ids.min().item<std::int64_t>(), highest = ids.max().item<std::int64_t>();
  if (lowest >= 0 && highest < config.vocab_size) return;
  throw data_error("[probe] {}: tensor 'input_ids' of shape {} holds the token {}, expected are 0 to {}", input.path(), shape_string(ids),
                   lowest < 0 ? lowest : highest, config.vocab_size - 1);
}

}  // namespace

nlohmann::ordered_json probe_text_encoder(const ProbeOptions& options) {
  const at::NoGradGuard no_grad;
  const auto encoder = open_model(options).load_text_encoder(network_dtype(options));
  encoder->to(parse_device(options.device));
  TensorInput input = open_input(options, network_dtype(options));
  const Tensor ids = input.integers("input_ids", "N,L");
  input.finish();
  check_ids(input, ids, encoder->config());
  const auto output = encoder->forward(ids);
  save_output(options, {{"last_hidden_state", output.last_hidden_state}, {"pooled", output.pooled}});
  return {{"parameters", count_parameters(*encoder)}};
}

}  // namespace nabla
