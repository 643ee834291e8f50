#include "common/diffusion/lora.h"
#include "common/diffusion/initialization.h"
#include "common/diffusion/ldm_names.h"
#include "common/safetensors.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/diffusion/tiny_unet.h"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <regex>
#include <set>

using namespace nabla;

namespace {

constexpr const char* kModule = "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0";

Tensor run(UNet2DConditionModel& unet, const TensorMap& expected) {
  return unet.forward(expected.at("sample"), expected.at("timestep"), expected.at("encoder_hidden_states"));
}

std::string dialect_file(char dialect) { return parity_file(std::string("lora/lora_") + dialect + ".safetensors"); }

// A file of a dialect with one change.
std::string changed_copy(const TemporaryFolder& folder, char dialect, const std::function<void(TensorMap&)>& change) {
  TensorMap tensors = load_tensors(dialect_file(dialect));
  change(tensors);
  save_tensors(folder.file("changed.safetensors"), tensors, load_metadata(dialect_file(dialect)));
  return folder.file("changed.safetensors");
}

// An adapter with values in both matrices, as after training.
LoraAdapter trained_adapter(UNet2DConditionModel& unet, const LoraConfig& config) {
  LoraAdapter adapter = LoraAdapter::create(unet, config, 5);
  TensorMap tensors;
  std::uint64_t index = 0;
  for (const auto& [name, tensor] : adapter.tensors()) {
    tensors[name] = 0.3 * normal_tensor(tensor.sizes().vec(), Philox(9, RandomPurpose::kInitialization, index++));
  }
  adapter.load(tensors);
  return adapter;
}

}  // namespace

TEST_CASE("every dialect gives the prediction that diffusers and peft give") {
  const TensorMap expected = tiny_unet_expected();
  for (const char dialect : {'p', 'd', 'o', 'k'}) {
    INFO("dialect ", dialect);
    const auto unet = tiny_unet();
    CHECK(relative_error(run(*unet, expected), expected.at("base")) < 1e-5);
    LoraAdapter adapter = LoraAdapter::attach(*unet, read_lora_file(dialect_file(dialect), *unet), 1.0);
    for (const WeightMode mode : {WeightMode::kMerged, WeightMode::kAdapter}) {
      adapter.set_mode(mode);
      CHECK(relative_error(run(*unet, expected), expected.at("adapted")) < 1e-5);
    }
    adapter.set_mode(WeightMode::kBase);
    CHECK(relative_error(run(*unet, expected), expected.at("base")) < 1e-5);
  }
}

TEST_CASE("a LoRA on linear layers and convolutions, with its own rank and alpha for each, gives what diffusers and peft give") {
  const TensorMap inputs = tiny_unet_expected();
  const Tensor wanted = load_tensors(parity_file("lora/expected_wide.safetensors")).at("adapted");
  for (const char* name : {"lora/lora_wide_d.safetensors", "lora/lora_wide_k.safetensors"}) {  // the latter in LDM's numbering
    INFO(name);
    const auto unet = tiny_unet();
    LoraAdapter adapter = LoraAdapter::attach(*unet, read_lora_file(parity_file(name), *unet), 1.0);
    for (const WeightMode mode : {WeightMode::kMerged, WeightMode::kAdapter}) {
      adapter.set_mode(mode);
      CHECK(relative_error(run(*unet, inputs), wanted) < 1e-5);
    }
    adapter.set_mode(WeightMode::kBase);
    CHECK(relative_error(run(*unet, inputs), inputs.at("base")) < 1e-5);
  }
}

TEST_CASE("a LoRA of convolutions survives writing and reading in both dialects") {
  const TemporaryFolder folder;
  const TensorMap inputs = tiny_unet_expected();
  const auto unet = tiny_unet();
  LoraAdapter adapter = LoraAdapter::attach(*unet, read_lora_file(parity_file("lora/lora_wide_d.safetensors"), *unet), 0.5);
  adapter.set_mode(WeightMode::kMerged);
  const Tensor wanted = run(*unet, inputs);
  write_lora_diffusers(folder.file("d.safetensors"), adapter);
  write_lora_kohya(folder.file("k.safetensors"), adapter, {});
  for (const auto& [name, tolerance] : {std::pair{"d.safetensors", 1e-6}, {"k.safetensors", 5e-3}}) {
    const auto other = tiny_unet();
    LoraAdapter again = LoraAdapter::attach(*other, read_lora_file(folder.file(name), *other), 1.0);
    again.set_mode(WeightMode::kMerged);
    CHECK(relative_error(run(*other, inputs), wanted) < tolerance);
  }
}

TEST_CASE("merged weights are those of peft and name every target") {
  const TensorMap expected = tiny_unet_expected();
  const auto unet = tiny_unet();
  const LoraAdapter adapter = LoraAdapter::attach(*unet, read_lora_file(dialect_file('p'), *unet), 1.0);
  const TensorMap merged = adapter.merged_weights();
  std::size_t compared = 0;
  for (const auto& [name, weight] : merged) {
    INFO(name);
    CHECK(relative_error(weight, expected.at("merged." + name)) < 1e-6);
    ++compared;
  }
  CHECK(compared == 32);  // 4 transformers, 2 attentions, 4 projections
}

TEST_CASE("gradients of the LoRA are those of peft") {
  const TensorMap expected = tiny_unet_expected();
  const auto unet = tiny_unet();
  LoraAdapter adapter = LoraAdapter::attach(*unet, read_lora_file(dialect_file('p'), *unet), 1.0);
  adapter.require_grad(true);
  adapter.set_mode(WeightMode::kAdapter);
  const auto gradients = torch::autograd::grad({run(*unet, expected)}, adapter.parameters(), {expected.at("cotangent")});
  std::size_t i = 0;
  for (const auto& [name, tensor] : adapter.tensors()) {
    INFO(name);
    // The file's scale 5/2 is folded into B here: dL/dA stays, dL/dB is divided by it.
    const double fold = name.ends_with("lora_B.weight") ? 2.5 : 1.0;
    CHECK(relative_error(gradients[i++] * fold, expected.at("grad." + name)) < 1e-4);
  }
}

TEST_CASE("attach multiplies by the scale that the user asks for") {
  const auto unet = tiny_unet();
  const TensorMap file = read_lora_file(dialect_file('k'), *unet);
  const Tensor base = named_tensors(*unet).at(std::string(kModule) + ".weight").clone();
  const Tensor once = LoraAdapter::attach(*unet, file, 1.0).merged_weights().at(std::string(kModule) + ".weight") - base;
  const Tensor half = LoraAdapter::attach(*unet, file, 0.5).merged_weights().at(std::string(kModule) + ".weight") - base;
  CHECK(relative_error(half * 2.0, once) < 1e-5);
}

TEST_CASE("a fresh adapter changes nothing and depends on the seed alone") {
  const TensorMap expected = tiny_unet_expected();
  const auto unet = tiny_unet();
  const Tensor base = run(*unet, expected);
  LoraAdapter adapter = LoraAdapter::create(*unet, {}, 5);
  adapter.set_mode(WeightMode::kMerged);
  CHECK(run(*unet, expected).equal(base));
  const auto other = tiny_unet();
  CHECK(digest_of(adapter.tensors()) == digest_of(LoraAdapter::create(*other, {}, 5).tensors()));
  CHECK(digest_of(adapter.tensors()) != digest_of(LoraAdapter::create(*other, {}, 6).tensors()));
  CHECK(adapter.tensors().size() == 64);
  double sum = 0.0, squares = 0.0, count = 0.0;
  for (const auto& [name, tensor] : adapter.tensors()) {
    if (name.ends_with("lora_B.weight")) {
      CHECK(tensor.abs().max().item<double>() == 0.0);
      continue;
    }
    sum += tensor.sum().item<double>();
    squares += tensor.square().sum().item<double>();
    count += static_cast<double>(tensor.numel());
  }
  CHECK(std::abs(sum / count) < 0.02);
  CHECK(std::sqrt(squares / count) == doctest::Approx(1.0 / 8.0).epsilon(0.06));  // 1/r
}

TEST_CASE("targets are whole names, suffixes at a dot, and must match something") {
  const auto unet = tiny_unet();
  CHECK(LoraAdapter::create(*unet, {.rank = 1, .alpha = 1, .target_modules = {"to_q"}}, 1).tensors().size() == 16);
  CHECK(LoraAdapter::create(*unet, {.rank = 1, .alpha = 1, .target_modules = {"attn2.to_k", kModule}}, 1).tensors().size() == 10);
  check_error(
      ExitCode::kUsage, [&] { LoraAdapter::create(*unet, {.rank = 1, .alpha = 1, .target_modules = {"o_q"}}, 1); }, "o_q");
  check_error(
      ExitCode::kUsage, [&] { LoraAdapter::create(*unet, {.rank = 0}, 1); }, "rank is 0");
}

TEST_CASE("a written file reads back as the same LoRA in both dialects") {
  const TemporaryFolder folder;
  const TensorMap expected = tiny_unet_expected();
  const auto unet = tiny_unet();
  LoraAdapter adapter = trained_adapter(*unet, {.rank = 4, .alpha = 6.0});
  adapter.set_mode(WeightMode::kMerged);
  const Tensor wanted = run(*unet, expected);
  write_lora_diffusers(folder.file("d.safetensors"), adapter);
  write_lora_kohya(folder.file("k.safetensors"), adapter, {});
  const auto reread = [&](const char* name) {
    const auto other = tiny_unet();
    LoraAdapter attached = LoraAdapter::attach(*other, read_lora_file(folder.file(name), *other), 1.0);
    attached.set_mode(WeightMode::kMerged);
    return run(*other, expected);
  };
  CHECK(relative_error(reread("d.safetensors"), wanted) < 1e-6);
  CHECK(relative_error(reread("k.safetensors"), wanted) < 5e-3);  // stores halves
}

TEST_CASE("the diffusers file holds what diffusers expects: float32, lora in every key, no alphas") {
  const TemporaryFolder folder;
  const auto unet = tiny_unet();
  write_lora_diffusers(folder.file("d.safetensors"), trained_adapter(*unet, {.rank = 4, .alpha = 6.0}));
  const auto tensors = load_tensors(folder.file("d.safetensors"));
  CHECK(tensors.size() == 64);
  for (const auto& [name, tensor] : tensors) {
    CHECK(name.starts_with("unet."));
    CHECK(name.find(".lora.") != std::string::npos);
    CHECK((tensor.scalar_type() == at::kFloat));
  }
  CHECK(tensors.contains("unet." + std::string(kModule) + ".lora.down.weight"));
  CHECK(load_metadata(folder.file("d.safetensors")) == std::map<std::string, std::string>{{"format", "pt"}});
}

TEST_CASE("the webui file holds kohya's keys, halves, alphas and metadata") {
  const TemporaryFolder folder;
  const auto unet = tiny_unet();
  write_lora_kohya(folder.file("sunset_webui.safetensors"), trained_adapter(*unet, {.rank = 4, .alpha = 6.0}),
                   {{"ss_seed", "17"}, {"modelspec.title", "Sunset"}});
  const auto tensors = load_tensors(folder.file("sunset_webui.safetensors"));
  CHECK(tensors.size() == 96);
  const std::string name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0";
  CHECK((tensors.at(name + ".lora_down.weight").scalar_type() == at::kHalf));
  CHECK((tensors.at(name + ".lora_up.weight").sizes() == at::IntArrayRef{8, 4}));
  CHECK(tensors.at(name + ".alpha").dim() == 0);
  CHECK((tensors.at(name + ".alpha").scalar_type() == at::kFloat));
  CHECK(tensors.at(name + ".alpha").item<double>() == 6.0);
  const auto metadata = load_metadata(folder.file("sunset_webui.safetensors"));
  CHECK(metadata.at("format") == "pt");
  CHECK(metadata.at("ss_network_module") == "networks.lora");
  CHECK(metadata.at("ss_network_dim") == "4");
  CHECK(metadata.at("ss_network_alpha") == "6");
  CHECK(metadata.at("ss_output_name") == "sunset_webui");
  CHECK(metadata.at("ss_seed") == "17");
  CHECK(metadata.at("modelspec.title") == "Sunset");
  CHECK(metadata.at("modelspec.architecture") == "stable-diffusion-v1/lora");
}

// A1111's rule for kohya's names (extensions-builtin/Lora: convert_diffusers_name_to_compvis), which it looks up among LDM's modules with '_' for '.'.
std::string compvis_name(const std::string& key) {
  std::smatch found;
  const auto number = [&](std::size_t group) { return std::stoi(found[group]); };
  if (std::regex_match(key, found, std::regex("lora_unet_down_blocks_(\\d+)_attentions_(\\d+)_(.+)")))
    return fmt::format("diffusion_model_input_blocks_{}_1_{}", 1 + number(1) * 3 + number(2), found[3].str());
  if (std::regex_match(key, found, std::regex("lora_unet_mid_block_attentions_(\\d+)_(.+)")))
    return fmt::format("diffusion_model_middle_block_1_{}", found[2].str());
  if (std::regex_match(key, found, std::regex("lora_unet_up_blocks_(\\d+)_attentions_(\\d+)_(.+)")))
    return fmt::format("diffusion_model_output_blocks_{}_1_{}", number(1) * 3 + number(2), found[3].str());
  return key;
}

TEST_CASE("ComfyUI and A1111 know every key of the webui file, and diffusers every key of its own") {
  const TemporaryFolder folder;
  UNetConfig config;  // Stable Diffusion's plan of blocks, narrow
  config.block_out_channels = {8, 8, 8, 8};
  config.norm_num_groups = 2;
  config.num_heads = {2, 2, 2, 2};
  config.cross_attention_dim = 6;
  UNet2DConditionModel unet(config);
  initialize_parameters(unet, 1);
  const LoraAdapter adapter = trained_adapter(unet, {});
  write_lora_kohya(folder.file("k.safetensors"), adapter, {});
  write_lora_diffusers(folder.file("d.safetensors"), adapter);
  std::set<std::string> comfy, a1111;  // what each has a module for
  const LdmNames names = LdmNames::of_unet(config);
  for (const auto& [name, layer] : lora_layers(unet)) {
    std::string kohya = "lora_unet_" + name, ldm = names.to_ldm(name).value().substr(std::string("model.").size());
    std::ranges::replace(kohya, '.', '_');
    std::ranges::replace(ldm, '.', '_');
    comfy.insert(kohya);
    a1111.insert(ldm);
  }
  const auto tensors = load_tensors(folder.file("k.safetensors"));
  CHECK(tensors.size() == 3 * 128);
  for (const auto& [key, tensor] : tensors) {
    INFO(key);
    const std::size_t dot = key.find('.');  // both cut a key at its first dot
    const std::string ending = key.substr(dot + 1);
    CHECK(comfy.contains(key.substr(0, dot)));
    CHECK(a1111.contains(compvis_name(key.substr(0, dot))));
    CHECK((ending == "lora_down.weight" || ending == "lora_up.weight" || ending == "alpha"));
  }
  const auto layers = lora_layers(unet);
  const TensorMap own = load_tensors(folder.file("d.safetensors"));
  CHECK(own.size() == 2 * 128);
  for (const auto& [key, tensor] : own) {
    INFO(key);
    std::smatch found;
    REQUIRE(std::regex_match(key, found, std::regex("unet\\.(.+)\\.lora\\.(down|up)\\.weight")));
    CHECK(layers.contains(found[1].str()));
  }
}

TEST_CASE("loading copies the values, merges them and keeps the module's own tensors") {
  const TensorMap expected = tiny_unet_expected();
  const auto unet = tiny_unet(), other = tiny_unet();
  const LoraAdapter source = trained_adapter(*unet, {.rank = 4, .alpha = 4.0});
  LoraAdapter adapter = LoraAdapter::create(*other, {.rank = 4, .alpha = 4.0}, 1);
  const TensorMap own = adapter.tensors();
  adapter.load(source.tensors());
  adapter.set_mode(WeightMode::kMerged);
  CHECK(own.begin()->second.equal(source.tensors().begin()->second));
  CHECK(digest_of(adapter.tensors()) == digest_of(source.tensors()));
  CHECK(relative_error(run(*other, expected), expected.at("base")) > 1e-2);
}

TEST_CASE("loading refuses missing, extra, badly shaped and non-finite tensors and then changes nothing") {
  const auto unet = tiny_unet();
  LoraAdapter adapter = LoraAdapter::create(*unet, {.rank = 4, .alpha = 4.0}, 1);
  const std::string before = digest_of(adapter.tensors()), name = std::string(kModule) + ".lora_A.weight";
  const auto refuse = [&](auto change, const std::string& part) {
    TensorMap tensors;
    for (const auto& [key, tensor] : adapter.tensors()) tensors[key] = tensor + 1.0;
    change(tensors);
    check_error(
        ExitCode::kData, [&] { adapter.load(tensors); }, part);
    CHECK(digest_of(adapter.tensors()) == before);
  };
  refuse([&](TensorMap& t) { t.erase(name); }, name);
  refuse([&](TensorMap& t) { t["other.lora_A.weight"] = at::zeros({4, 4}); }, "other.lora_A.weight");
  refuse([&](TensorMap& t) { t[name] = at::zeros({2, 8}); }, "[2, 8]");
  refuse([&](TensorMap& t) { t[name] = at::full({4, 8}, NAN); }, "NaN");
}

TEST_CASE("LoRA files that do not fit are refused by file and key") {
  const TemporaryFolder folder;
  const auto unet = tiny_unet();
  const auto refuse = [&](char dialect, auto change, const char* part) {
    const std::string path = changed_copy(folder, dialect, change);
    check_error(
        ExitCode::kData, [&] { LoraAdapter::attach(*unet, read_lora_file(path, *unet), 1.0); }, part);
  };
  const std::string p = "unet." + std::string(kModule);
  refuse(
      'p', [&](TensorMap& t) { t.erase(p + ".lora_B.weight"); }, "lacks one");
  refuse(
      'p',
      [&](TensorMap& t) {
        t[p + ".lora_B.weight"] = at::zeros({8, 3});
      },
      "ranks 2 (down) and 3 (up)");
  refuse(
      'p',
      [&](TensorMap& t) {
        t[p + ".lora_A.weight"] = at::zeros({2, 7});
      },
      "[2, 7]");
  refuse(
      'p',
      [&](TensorMap& t) {
        t[p + ".lora_A.weight"] = at::full({2, 8}, INFINITY);
      },
      "infinite");
  refuse(
      'p',
      [&](TensorMap& t) {
        t["unet.down_blocks.9.to_q.lora_A.weight"] = at::zeros({2, 8});
      },
      "down_blocks.9.to_q");
  refuse(
      'p',
      [&](TensorMap& t) {
        t[p + ".lora.down.weight"] = at::zeros({2, 8});
      },
      "another name");
  refuse(
      'k', [&](TensorMap& t) { t["lora_te_text_model_encoder_layers_0_mlp_fc1.alpha"] = at::ones({}); }, "text encoder");
  refuse(
      'k',
      [&](TensorMap& t) {
        t["lora_unet_conv_in.hada_w1_a"] = at::ones({2, 2});
      },
      "hada_w1_a");
  refuse(
      'k', [&](TensorMap& t) { t.clear(); }, "no tensors");
}

TEST_CASE("a LoRA may leave layers out and give each its own rank") {
  const TemporaryFolder folder;
  const auto unet = tiny_unet();
  const std::string path = changed_copy(folder, 'k', [](TensorMap& tensors) {
    TensorMap kept;
    for (const auto& [name, tensor] : tensors) {
      if (name.find("mid_block") != std::string::npos) kept[name] = tensor;
    }
    const std::string name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0";
    kept[name + ".lora_down.weight"] = at::ones({3, 8});
    kept[name + ".lora_up.weight"] = at::ones({8, 3});
    tensors = kept;
  });
  const LoraAdapter adapter = LoraAdapter::attach(*unet, read_lora_file(path, *unet), 1.0);
  CHECK(adapter.tensors().size() == 16);
  CHECK(adapter.config().rank == 3);
  const Tensor change =
      adapter.merged_weights().at(std::string(kModule) + ".weight") - named_tensors(*unet).at(std::string(kModule) + ".weight");
  CHECK(relative_error(change, at::full({8, 8}, 5.0)) < 1e-6);  // alpha 5 / rank 3 * 3 ones
}

TEST_CASE("a float64 network merges in float64") {
  const auto unet = tiny_unet(at::kDouble);
  LoraAdapter adapter = LoraAdapter::attach(*unet, read_lora_file(dialect_file('p'), *unet), 1.0);
  const TensorMap tensors = adapter.tensors();
  const std::string name = kModule;
  const Tensor exact =
      named_tensors(*unet).at(name + ".weight") + tensors.at(name + ".lora_B.weight").mm(tensors.at(name + ".lora_A.weight"));
  CHECK((adapter.merged_weights().at(name + ".weight").scalar_type() == at::kDouble));
  CHECK(relative_error(adapter.merged_weights().at(name + ".weight"), exact) < 1e-14);
}
