#include "common/diffusion/single_file.h"

#include "common/diffusion/ldm_names.h"
#include "common/diffusion/stable_diffusion_v1.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/diffusion/parity_data.h"
#include "tests/diffusion/small_model.h"
#include "tests/diffusion/torch_writer.h"

#include <limits>

using namespace nabla;

namespace {

void check_same_weights(const torch::nn::Module& ours, const torch::nn::Module& theirs) {
  const TensorMap expected = named_tensors(theirs);
  const TensorMap tensors = named_tensors(ours);
  REQUIRE(tensors.size() == expected.size());
  for (const auto& [name, tensor] : tensors) CHECK_MESSAGE(tensor.equal(expected.at(name)), name);
}

template <class... Parts>
void check_refused(TensorMap tensors, const Parts&... parts) {
  const TemporaryFolder folder;
  save_tensors(folder.file("model.safetensors"), tensors);
  check_error(
      ExitCode::kData,
      [&] {
        const ModelFolder model = ModelFolder::open(folder.file("model.safetensors"));
        model.load_text_encoder(at::kFloat);
        model.load_unet(at::kFloat);
        model.load_vae(at::kFloat);
      },
      "model.safetensors", parts...);
}

// The small model's tensors with one more.
TensorMap with(const std::string& name, const Tensor& tensor) {
  TensorMap tensors = small_model().single();
  tensors[name] = tensor;
  return tensors;
}

}  // namespace

TEST_CASE("a single file gives the networks and the digest of the folder it was made from") {
  const TemporaryFolder folder;
  const ModelFolder expected = small_model().folder();
  save_tensors(folder.file("model.safetensors"), small_model().single());
  write_torch_file(folder.file("model.ckpt"), small_model().single(), StateDict::kWrapped);
  for (const char* name : {"model.safetensors", "model.ckpt"}) {
    INFO(name);
    const ModelFolder model = ModelFolder::open(folder.file(name));
    check_same_weights(*model.load_unet(at::kFloat), *expected.load_unet(at::kFloat));
    check_same_weights(*model.load_vae(at::kFloat), *expected.load_vae(at::kFloat));
    check_same_weights(*model.load_text_encoder(at::kFloat), *expected.load_text_encoder(at::kFloat));
    CHECK(model.load_unet(at::kFloat)->config().to_json() == SmallModel::unet_config().to_json());
    CHECK(model.load_vae(at::kFloat)->config().to_json() == SmallModel::vae_config().to_json());
    CHECK(model.load_text_encoder(at::kFloat)->config().to_json() == SmallModel::text_config().to_json());
    CHECK(model.digest() == expected.digest());
  }
}

TEST_CASE("a single file takes the tokenizer beside it, and says where to put one") {
  const TemporaryFolder folder;
  save_tensors(folder.file("model.safetensors"), small_model().single());
  const ModelFolder model = ModelFolder::open(folder.file("model.safetensors"));
  check_error(
      ExitCode::kData, [&] { model.load_tokenizer(); }, "model.safetensors", folder.file("tokenizer"), "--like");
  SmallModel::write_tokenizer_beside(folder.path());
  CHECK(model.load_tokenizer().encode("a red star") == small_model().folder().load_tokenizer().encode("a red star"));
}

TEST_CASE("without configuration the scheduler and the scaling factor are Stable Diffusion v1.5's") {
  const TemporaryFolder folder;
  save_tensors(folder.file("model.safetensors"), small_model().single());
  const ModelFolder model = ModelFolder::open(folder.file("model.safetensors"));
  const SchedulerConfig scheduler = model.scheduler();
  CHECK(scheduler.beta_start == 0.00085);
  CHECK(scheduler.beta_end == 0.012);
  CHECK(scheduler.beta_schedule == "scaled_linear");
  CHECK(scheduler.steps_offset == 1);
  CHECK_FALSE(scheduler.clip_sample);
  CHECK_FALSE(scheduler.set_alpha_to_one);
  CHECK(model.load_vae(at::kFloat)->config().scaling_factor == 0.18215);
}

TEST_CASE("the VAE's attention in a single file is made of 1x1 convolutions") {
  CHECK(small_model().single().at("first_stage_model.encoder.mid.attn_1.q.weight").sizes() == at::IntArrayRef({64, 64, 1, 1}));
  CHECK(small_model().single().at("first_stage_model.decoder.mid.attn_1.proj_out.weight").sizes() == at::IntArrayRef({64, 64, 1, 1}));
}

TEST_CASE("buffers, averaged copies and position ids are passed over") {
  const TemporaryFolder folder;
  TensorMap tensors = with("betas", at::ones({3}));
  tensors["model_ema.diffusion_modelconv_inweight"] = at::ones({3});
  tensors["first_stage_model.loss.logvar"] = at::ones({});
  tensors["cond_stage_model.transformer.text_model.embeddings.position_ids"] = at::arange(77).unsqueeze(0);
  save_tensors(folder.file("model.safetensors"), tensors);
  CHECK(ModelFolder::open(folder.file("model.safetensors")).digest() == small_model().folder().digest());
  CHECK(SingleFile(folder.file("model.safetensors")).left_out() ==
        std::vector<std::string>{"betas", "first_stage_model.loss.logvar", "model_ema.diffusion_modelconv_inweight"});
}

TEST_CASE("text encoders without 'text_model.' in their names are read") {
  const TemporaryFolder folder;
  const std::string prefix = "cond_stage_model.transformer.", full = prefix + "text_model.";
  TensorMap tensors;
  for (const auto& [name, tensor] : small_model().single())
    tensors[name.starts_with(full) ? prefix + name.substr(full.size()) : name] = tensor;
  save_tensors(folder.file("model.safetensors"), tensors);
  CHECK(ModelFolder::open(folder.file("model.safetensors")).digest() == small_model().folder().digest());
}

TEST_CASE("other families are refused by name") {
  const std::pair<const char*, const char*> markers[] = {
      {"conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight", "Stable Diffusion XL"},
      {"cond_stage_model.model.token_embedding.weight", "Stable Diffusion 2"},
      {"model.diffusion_model.joint_blocks.0.context_block.adaLN_modulation.1.bias", "Stable Diffusion 3"},
      {"double_blocks.0.img_attn.norm.key_norm.scale", "Flux"},
      {"model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale", "Flux"},
      {"clip_txt_mapper.weight", "Stable Cascade"},
      {"control_model.time_embed.0.weight", "ControlNet"},
      {"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", "LoRA"},
  };
  for (const auto& [marker, family] : markers) check_refused({{marker, at::ones({1})}}, family, "Stable Diffusion v1.x");
  const std::string context = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight",
                    input = "model.diffusion_model.input_blocks.0.0.weight";
  check_refused({{context, at::ones({64, 1024})}}, "Stable Diffusion 2");
  check_refused({{context, at::ones({64, 2048})}}, "Stable Diffusion XL");
  check_refused({{input, at::ones({32, 9, 3, 3})}}, "inpainting");
  check_refused({{input, at::ones({32, 8, 3, 3})}}, "InstructPix2Pix");
}

TEST_CASE("a single file without one of the networks says which") {
  for (const auto& [prefix, component] :
       {std::pair{"first_stage_model.", "vae"}, {"model.diffusion_model.", "unet"}, {"cond_stage_model.", "text_encoder"}}) {
    TensorMap tensors = small_model().single();
    std::erase_if(tensors, [prefix = std::string(prefix)](const auto& item) { return item.first.starts_with(prefix); });
    check_refused(tensors, std::string("no ") + component, prefix);
  }
}

TEST_CASE("missing and unexpected tensors of a single file are reported together") {
  TensorMap tensors = with("model.diffusion_model.label_emb.0.0.weight", at::ones({2}));
  tensors.erase("model.diffusion_model.input_blocks.1.0.in_layers.0.bias");
  check_refused(tensors, "1 tensors are missing (down_blocks.0.resnets.0.norm1.bias)",
                "1 unexpected (model.diffusion_model.label_emb.0.0.weight)", "the unet of");
}

TEST_CASE("weights of a single file that are badly shaped or not finite are named") {
  check_refused(with("first_stage_model.encoder.mid.attn_1.q.weight", at::ones({64, 63, 1, 1})),
                "encoder.mid_block.attentions.0.to_q.weight", "[64, 63]", "[64, 64]");
  Tensor bias = at::zeros({64});
  bias[5] = std::numeric_limits<float>::infinity();
  check_refused(with("model.diffusion_model.middle_block.0.out_layers.3.bias", bias), "mid_block.resnets.0.conv2.bias", "NaN or infinite");
}

TEST_CASE("the size of the vocabulary is that of its embeddings") {
  const std::string name = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight";
  const TemporaryFolder folder;
  save_tensors(folder.file("model.safetensors"), with(name, at::ones({50, 64})));
  CHECK(ModelFolder::open(folder.file("model.safetensors")).load_text_encoder(at::kFloat)->config().vocab_size == 50);
}

TEST_CASE("the published configuration is inferred from tensors of Stable Diffusion v1.5's shapes, whose parameters are counted") {
  const UNetConfig unet = stable_diffusion_unet();
  const VaeConfig vae = stable_diffusion_vae();
  const ClipTextConfig text = stable_diffusion_text_encoder();
  // Uninitialised memory that is never touched: no more than addresses.
  const UNet2DConditionModel unet_network(unet);
  const AutoencoderKL vae_network(vae);
  const ClipTextModel text_network(text);
  std::int64_t parameters = 0, tensors = 0;
  TensorMap file;
  const auto add = [&](const torch::nn::Module& network, const LdmNames& names) {
    for (const auto& [name, tensor] : named_tensors(network)) {
      file[names.to_ldm(name).value()] = tensor;
      parameters += tensor.numel();
      ++tensors;
    }
  };
  add(unet_network, LdmNames::of_unet(unet));
  CHECK(parameters == 859'520'964);
  CHECK(tensors == 686);
  add(vae_network, LdmNames::of_vae(vae));
  CHECK(parameters == 859'520'964 + 83'653'863);
  CHECK(tensors == 686 + 248);
  add(text_network, LdmNames::of_text_encoder());
  CHECK(parameters == 859'520'964 + 83'653'863 + 123'060'480);
  CHECK(tensors == 686 + 248 + 196);
  CHECK(other_family(file).empty());
  CHECK(infer_config(file, Component::kUnet) == unet.to_json());
  CHECK(infer_config(file, Component::kVae) == vae.to_json());
  CHECK(infer_config(file, Component::kTextEncoder) == text.to_json());
}
