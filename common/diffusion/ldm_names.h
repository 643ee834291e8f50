#pragma once

#include "common/diffusion/unet.h"
#include "common/diffusion/vae.h"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace nabla {

// What LDM's names of each component begin with.
inline constexpr const char* kLdmUnetPrefix = "model.diffusion_model.";
inline constexpr const char* kLdmVaePrefix = "first_stage_model.";
inline constexpr const char* kLdmTextPrefix = "cond_stage_model.transformer.";

// The names of one component's tensors in diffusers and in LDM's single files ("model.diffusion_model.input_blocks.0.0.weight" for "conv_in.weight"). LDM numbers
// blocks through where diffusers numbers levels and layers, so the pairs follow from the configuration.
class LdmNames {
 public:
  static LdmNames of_unet(const UNetConfig& config);
  static LdmNames of_vae(const VaeConfig& config);
  static LdmNames of_text_encoder();

  // Nothing for a name that has no counterpart.
  std::optional<std::string> to_ldm(const std::string& name) const;
  std::optional<std::string> to_diffusers(const std::string& name) const;

 private:
  explicit LdmNames(std::string prefix) : prefix_(std::move(prefix)) {}
  // Modules whose tensors keep the rest of their names.
  void add(const std::string& diffusers, const std::string& ldm);
  void add_unet_resnet(const std::string& diffusers, const std::string& ldm);
  void add_vae_resnet(const std::string& diffusers, const std::string& ldm);

  std::string prefix_;
  std::map<std::string, std::string> ldm_by_diffusers_, diffusers_by_ldm_;
};

}  // namespace nabla
