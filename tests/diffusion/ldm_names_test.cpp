#include "common/diffusion/ldm_names.h"

#include "common/diffusion/stable_diffusion_v1.h"
#include "common/json_file.h"
#include "tests/diffusion/parity_data.h"

#include <nlohmann/json.hpp>

using namespace nabla;

namespace {

void check_pairs(const LdmNames& names, const nlohmann::json& pairs, std::size_t count) {
  CHECK(pairs.size() == count);
  for (const auto& [diffusers, ldm] : pairs.items()) {
    INFO(diffusers);
    CHECK(names.to_ldm(diffusers).value_or("") == ldm.get<std::string>());
    CHECK(names.to_diffusers(ldm.get<std::string>()).value_or("") == diffusers);
  }
}

}  // namespace

TEST_CASE("all names of Stable Diffusion v1.5 are paired as diffusers pairs them, in both directions") {
  const nlohmann::json pairs(read_json(parity_file("ldm_names.json")));
  check_pairs(LdmNames::of_unet(stable_diffusion_unet()), pairs.at("unet"), 686);
  check_pairs(LdmNames::of_vae(stable_diffusion_vae()), pairs.at("vae"), 248);
  check_pairs(LdmNames::of_text_encoder(), pairs.at("text_encoder"), 196);
}

TEST_CASE("a name without a counterpart has none") {
  const LdmNames unet = LdmNames::of_unet(stable_diffusion_unet());
  CHECK_FALSE(unet.to_diffusers("model.diffusion_model.label_emb.0.0.weight").has_value());
  CHECK_FALSE(unet.to_diffusers("model.diffusion_model.input_blocks.12.0.in_layers.0.weight").has_value());
  CHECK_FALSE(unet.to_diffusers("first_stage_model.encoder.conv_in.weight").has_value());
  CHECK_FALSE(unet.to_ldm("add_embedding.linear_1.weight").has_value());
  CHECK_FALSE(LdmNames::of_text_encoder().to_diffusers("cond_stage_model.transformer.text_projection.weight").has_value());
}
