#pragma once

#include "common/config/run_config.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace nabla {

// What the verbs of `nabla probe` are asked to do; each reads the fields of its own options.
struct ProbeOptions {
  std::string in, out;                            // safetensors files
  std::string device = "cpu", dtype = "float32";  // dtype: float32 | float64 | bfloat16, of weights and arithmetic
  std::string model;                              // in any form that ModelFolder opens
  std::string lora;                               // LoRA file of any dialect; empty: none
  double lora_scale = 1.0;                        // multiplies the file's own scale
  std::string flow;                               // folder of a UNet, or its weights beside their config.json
  std::string sampler = "ddim";                   // see sampler_from_name
  std::int64_t steps = 50;
  double eta = 1.0;
  std::string reward, reward_model, prompts;  // reward: see make_reward; prompts: a file, one a picture
  std::string tokenizer = "clip";             // clip | clip-open | bert
  std::string vocabulary;                     // of the tokenizer, a file or a folder; empty: the model's
  std::optional<std::string> text;            // one text; else `file`
  std::string file;                           // a text a line
  std::string gradient;                       // see gradient_kind_from_name; empty: config.model.gradient
  RunConfig config;                           // terms and loss: sampling; loss: the objective and its weights
};

// Each runs one part on the tensors of options.in, writes what it computed to options.out and returns facts for a person or a script.
// data_error on a missing, extra or badly shaped tensor. Tensors by name and shape: `nabla probe VERB --help`.
nlohmann::ordered_json probe_unet(const ProbeOptions& options);
nlohmann::ordered_json probe_flow(const ProbeOptions& options);
nlohmann::ordered_json probe_text_encoder(const ProbeOptions& options);
nlohmann::ordered_json probe_vae_encode(const ProbeOptions& options);
nlohmann::ordered_json probe_vae_decode(const ProbeOptions& options);
nlohmann::ordered_json probe_reward(const ProbeOptions& options);
nlohmann::ordered_json probe_step(const ProbeOptions& options);
// Writes every adapted weight of the UNet with the LoRA merged in, under its diffusers name.
nlohmann::ordered_json probe_lora_merge(const ProbeOptions& options);
// The step table, all in double; neither reads nor writes tensors.
nlohmann::ordered_json probe_scheduler(const ProbeOptions& options);
// What an actor attaches to transitions: predictions, reward gradients and reverse scores. Facts: rewards.
nlohmann::ordered_json probe_terms(const ProbeOptions& options);
// The objective of options.config on transitions with such tensors, and its gradients in every LoRA and flow parameter.
nlohmann::ordered_json probe_loss(const ProbeOptions& options);
// An array with {text, ids} of each text, framed and padded.
nlohmann::ordered_json probe_tokenize(const ProbeOptions& options);

}  // namespace nabla
