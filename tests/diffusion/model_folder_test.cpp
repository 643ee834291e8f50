#include "common/diffusion/model_folder.h"
#include "common/files.h"
#include "common/json_file.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/diffusion/parity_data.h"
#include "tests/diffusion/torch_writer.h"

#include <nlohmann/json.hpp>

#include <limits>

using namespace nabla;

namespace {

constexpr const char* kFinalNorm = "text_model.final_layer_norm.weight";

// A pipeline's folder made of the tiny networks, which a test then damages.
class PipelineFolder {
 public:
  PipelineFolder() {
    write_json(file("model_index.json"), {{"_class_name", "StableDiffusionPipeline"}});
    for (const auto& [component, network] :
         {std::pair{"unet", "unet_one_layer"}, {"vae", "vae_one_layer"}, {"text_encoder", "text_quick_gelu"}})
      std::filesystem::copy(parity_file(network), file(component), std::filesystem::copy_options::recursive);
    std::filesystem::create_directory(file("scheduler"));
    write_json(file("scheduler/scheduler_config.json"), SchedulerConfig().to_json());
  }

  std::string file(const std::string& name) const { return folder_.file(name); }
  ModelFolder open() const { return ModelFolder::open(folder_.path()); }
  const std::string& path() const { return folder_.path(); }

  // Replaces the weights of one component by what `edit` makes of a copy of them.
  template <class Edit>
  void edit_weights(const std::string& weights, Edit edit) const {
    TensorMap tensors = load_tensors(file(weights));
    for (auto& [name, tensor] : tensors) tensor = tensor.clone();
    edit(tensors);
    save_tensors(file(weights), tensors);
  }

  void set_config(const std::string& config, const std::string& key, const nlohmann::ordered_json& value) const {
    auto json = read_json(file(config));
    json[key] = value;
    write_json(file(config), json);
  }

 private:
  TemporaryFolder folder_;
};

constexpr const char* kTextWeights = "text_encoder/model.safetensors";

void load_text(const PipelineFolder& folder) { folder.open().load_text_encoder(at::kFloat); }

// The stored name, which version 5 of transformers shortens.
std::string stored_name(const TensorMap& tensors, const std::string& name) {
  return tensors.contains(name) ? name : name.substr(std::string("text_model.").size());
}

}  // namespace

TEST_CASE("a model folder gives its networks, frozen and in the dtype that was asked for") {
  const PipelineFolder folder;
  const ModelFolder model = folder.open();
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const auto unet = model.load_unet(dtype);
    for (const auto& [name, parameter] : named_tensors(*unet)) {
      CHECK((parameter.scalar_type() == dtype));
      CHECK_FALSE(parameter.requires_grad());
    }
  }
  CHECK(model.load_vae(at::kFloat)->config().scale() == 2);
  CHECK(model.load_text_encoder(at::kFloat)->config().hidden_size == 24);
  CHECK(model.scheduler().clip_sample);
}

TEST_CASE("a missing model folder is named") {
  check_error(
      ExitCode::kData, [] { ModelFolder::open("/no/such/model"); }, "/no/such/model");
}

TEST_CASE("another pipeline is refused by name") {
  const PipelineFolder folder;
  write_json(folder.file("model_index.json"), {{"_class_name", "StableDiffusionXLPipeline"}});
  check_error(
      ExitCode::kData, [&] { folder.open(); }, "StableDiffusionXLPipeline", "StableDiffusionPipeline");
}

TEST_CASE("a missing tensor is named") {
  const PipelineFolder folder;
  folder.edit_weights(kTextWeights, [](TensorMap& tensors) { tensors.erase(stored_name(tensors, kFinalNorm)); });
  check_error(
      ExitCode::kData, [&] { load_text(folder); }, kFinalNorm, "1 tensors are missing");
}

TEST_CASE("missing and unexpected tensors are reported together") {
  const PipelineFolder folder;
  folder.edit_weights(kTextWeights, [](TensorMap& tensors) {
    tensors.erase(stored_name(tensors, kFinalNorm));
    tensors["logit_scale"] = at::ones({});
  });
  check_error(
      ExitCode::kData, [&] { load_text(folder); }, kFinalNorm, "logit_scale", "text_encoder");
}

TEST_CASE("stored position ids are ignored") {
  const PipelineFolder folder;
  folder.edit_weights(kTextWeights, [](TensorMap& tensors) { tensors["text_model.embeddings.position_ids"] = at::arange(9).unsqueeze(0); });
  CHECK_NOTHROW(load_text(folder));
}

TEST_CASE("a tensor of another shape is named with both shapes") {
  const PipelineFolder folder;
  folder.edit_weights(kTextWeights, [](TensorMap& tensors) { tensors[stored_name(tensors, kFinalNorm)] = at::ones({23}); });
  check_error(
      ExitCode::kData, [&] { load_text(folder); }, kFinalNorm, "[23]", "[24]");
}

TEST_CASE("weights that are not finite are named") {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    const PipelineFolder folder;
    folder.edit_weights("unet/diffusion_pytorch_model.safetensors", [&](TensorMap& tensors) { tensors["conv_out.bias"][1] = bad; });
    check_error(
        ExitCode::kData, [&] { folder.open().load_unet(at::kFloat); }, "conv_out.bias", "NaN");
  }
}

TEST_CASE("a truncated weights file is named") {
  const PipelineFolder folder;
  const std::string weights = folder.file("vae/diffusion_pytorch_model.safetensors");
  std::filesystem::resize_file(weights, std::filesystem::file_size(weights) - 1);
  check_error(
      ExitCode::kData, [&] { folder.open().load_vae(at::kFloat); }, weights);
}

TEST_CASE("a component without weights names what it looked for") {
  const PipelineFolder folder;
  std::filesystem::remove(folder.file("vae/diffusion_pytorch_model.safetensors"));
  check_error(
      ExitCode::kData, [&] { folder.open().load_vae(at::kFloat); }, "diffusion_pytorch_model.safetensors", "/vae");
}

TEST_CASE("a configuration that is not supported is refused by key and value") {
  const PipelineFolder folder;
  folder.set_config("unet/config.json", "use_linear_projection", true);
  check_error(
      ExitCode::kData, [&] { folder.open().load_unet(at::kFloat); }, "use_linear_projection", "true", "unet/config.json");
  folder.set_config("text_encoder/config.json", "hidden_act", "relu");
  check_error(
      ExitCode::kData, [&] { load_text(folder); }, "hidden_act", "relu");
  folder.set_config("vae/config.json", "layers_per_block", "two");
  check_error(
      ExitCode::kData, [&] { folder.open().load_vae(at::kFloat); }, "layers_per_block", "two");
}

TEST_CASE("sizes that no network has are refused by key before anything is made of them") {
  const PipelineFolder folder;
  const auto refuse = [&](const char* file, const char* key, const nlohmann::ordered_json& value) {
    const std::string before = read_file(folder.file(file), 1 << 20);
    folder.set_config(file, key, value);
    INFO(std::string(file), " ", std::string(key), " ", value.dump());
    check_error(
        ExitCode::kData,
        [&] {
          folder.open().load_unet(at::kFloat);
          folder.open().load_vae(at::kFloat);
          load_text(folder);
          folder.open().scheduler();
        },
        key, file);
    write_file(folder.file(file), before);
  };
  refuse("unet/config.json", "norm_num_groups", 0);
  refuse("unet/config.json", "layers_per_block", 1'000'000'000);
  refuse("unet/config.json", "layers_per_block", 1.7);
  refuse("unet/config.json", "block_out_channels", std::vector<double>{32, 64.5});
  refuse("unet/config.json", "block_out_channels", std::vector<std::int64_t>(17, 32));
  refuse("unet/config.json", "block_out_channels", nlohmann::ordered_json::array());
  refuse("unet/config.json", "cross_attention_dim", -1);
  refuse("vae/config.json", "latent_channels", 0);
  refuse("vae/config.json", "norm_num_groups", 7);
  refuse("text_encoder/config.json", "num_attention_heads", 0);
  refuse("text_encoder/config.json", "vocab_size", std::int64_t{1} << 40);
  refuse("scheduler/scheduler_config.json", "num_train_timesteps", 1'000'000'000);
}

TEST_CASE("the VAE's attention is read under its first names and as 1x1 convolutions") {
  const PipelineFolder folder;
  const TensorMap modern = named_tensors(*folder.open().load_vae(at::kFloat));
  folder.edit_weights("vae/diffusion_pytorch_model.safetensors", [](TensorMap& tensors) {
    const std::pair<const char*, const char*> names[] = {
        {".to_q.", ".query."}, {".to_k.", ".key."}, {".to_v.", ".value."}, {".to_out.0.", ".proj_attn."}};
    for (const auto& [name, tensor] : TensorMap(tensors)) {
      for (const auto& [from, to] : names) {
        const auto at = name.find(from);
        if (at == std::string::npos) continue;
        std::string first = name;
        tensors.erase(name);
        tensors[first.replace(at, std::string(from).size(), to)] = tensor.dim() == 2 ? tensor.unsqueeze(2).unsqueeze(3) : tensor;
      }
    }
    REQUIRE(tensors.contains("decoder.mid_block.attentions.0.query.weight"));
  });
  for (const auto& [name, tensor] : named_tensors(*folder.open().load_vae(at::kFloat))) CHECK(tensor.equal(modern.at(name)));
}

TEST_CASE("weights in shards and in halves are read") {
  const PipelineFolder folder;
  const std::string base = folder.file("text_encoder/model");
  const auto before = named_tensors(*folder.open().load_text_encoder(at::kFloat));
  TensorMap first, second;
  nlohmann::ordered_json index{{"weight_map", nlohmann::ordered_json::object()}};
  for (const auto& [name, tensor] : load_tensors(base + ".safetensors")) {
    const bool odd = first.size() > second.size();
    (odd ? second : first)[name] = tensor.to(at::kHalf);
    index["weight_map"][name] = odd ? "b.safetensors" : "a.safetensors";
  }
  std::filesystem::remove(base + ".safetensors");
  save_tensors(folder.file("text_encoder/a.safetensors"), first);
  save_tensors(folder.file("text_encoder/b.safetensors"), second);
  write_json(base + ".fp16.safetensors.index.json", index);
  for (const auto& [name, tensor] : named_tensors(*folder.open().load_text_encoder(at::kFloat)))
    CHECK(tensor.equal(before.at(name).to(at::kHalf).to(at::kFloat)));
}

TEST_CASE("a shard outside its folder is refused") {
  const PipelineFolder folder;
  std::filesystem::remove(folder.file(kTextWeights));
  write_json(folder.file("text_encoder/model.safetensors.index.json"), {{"weight_map", {{"a", "../secret.safetensors"}}}});
  check_error(
      ExitCode::kData, [&] { load_text(folder); }, "../secret.safetensors");
}

TEST_CASE("a model's digest changes with a weight and with the schedule, and with nothing else") {
  const PipelineFolder folder, other;
  const std::string digest = folder.open().digest();
  CHECK(other.open().digest() == digest);
  other.set_config("unet/config.json", "_name_or_path", "somewhere");
  CHECK(other.open().digest() == digest);
  other.edit_weights("unet/diffusion_pytorch_model.safetensors", [](TensorMap& tensors) { tensors["conv_out.bias"][0] += 1; });
  const std::string edited = other.open().digest();
  CHECK(edited != digest);
  other.set_config("scheduler/scheduler_config.json", "steps_offset", 1);
  CHECK(other.open().digest() != edited);
}

TEST_CASE("a configuration survives writing and reading") {
  for (const std::string name : {"unet_two_layers", "unet_one_layer", "unet_other_order"}) {
    const auto config = UNetConfig::from_json(nlohmann::json(read_json(parity_file(name) + "/config.json")), name);
    const auto again = UNetConfig::from_json(nlohmann::json(config.to_json()), "written");
    CHECK(again.to_json() == config.to_json());
    CHECK(again.num_heads == config.num_heads);
    CHECK(again.freq_shift == config.freq_shift);
  }
}

TEST_CASE("pickled weights are read where there is no safetensors file, under each library's name") {
  const PipelineFolder folder;
  const std::string digest = folder.open().digest();
  const std::pair<const char*, const char*> files[] = {{"unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin"},
                                                       {"vae/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.fp16.bin"},
                                                       {kTextWeights, "text_encoder/pytorch_model.bin"}};
  for (const auto& [safetensors, pickled] : files) {
    write_torch_file(folder.file(pickled), load_tensors(folder.file(safetensors)));
    std::filesystem::remove(folder.file(safetensors));
  }
  CHECK(folder.open().digest() == digest);
  CHECK_NOTHROW(load_text(folder));
}

TEST_CASE("variants and both spellings of their index are found, the plain file first") {
  const PipelineFolder folder;
  const std::string base = folder.file("text_encoder/model");
  const auto rename = [&](const std::string& from, const std::string& to) { std::filesystem::rename(base + from, base + to); };
  const TensorMap before = named_tensors(*folder.open().load_text_encoder(at::kFloat));
  rename(".safetensors", ".non_ema.safetensors");
  CHECK_NOTHROW(load_text(folder));
  rename(".non_ema.safetensors", "-00001-of-00001.fp16.safetensors");
  nlohmann::ordered_json index{{"weight_map", nlohmann::ordered_json::object()}};
  for (const auto& [name, tensor] : load_tensors(base + "-00001-of-00001.fp16.safetensors"))
    index["weight_map"][name] = "model-00001-of-00001.fp16.safetensors";
  write_json(base + ".safetensors.index.fp16.json", index);
  CHECK_NOTHROW(load_text(folder));
  index["weight_map"]["text_model.lost.weight"] = "model-00001-of-00001.fp16.safetensors";
  write_json(base + ".safetensors.index.fp16.json", index);
  check_error(
      ExitCode::kData, [&] { load_text(folder); }, "text_model.lost.weight", "model-00001-of-00001.fp16.safetensors");
  // A plain file of other values wins.
  TensorMap other;
  for (const auto& [name, tensor] : before) other[name] = at::zeros_like(tensor);
  save_tensors(base + ".safetensors", other);
  CHECK(named_tensors(*folder.open().load_text_encoder(at::kFloat)).at(kFinalNorm).abs().sum().item<float>() == 0.0F);
}

TEST_CASE("a folder of the hub cache, whose files are links to blobs, is read by its path") {
  const PipelineFolder folder;
  const TemporaryFolder cache;
  const std::string model = cache.file("models--some--model"), snapshot = model + "/snapshots/0a1b";
  std::filesystem::create_directories(model + "/blobs");
  std::filesystem::create_directories(model + "/refs");
  write_file(model + "/refs/main", "0a1b");
  int number = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path())) {
    const auto inside = std::filesystem::relative(entry.path(), folder.path());
    if (entry.is_directory()) {
      std::filesystem::create_directories(std::filesystem::path(snapshot) / inside);
      continue;
    }
    const std::string blob = fmt::format("{}/blobs/{}", model, number++);
    std::filesystem::copy_file(entry.path(), blob);
    std::filesystem::create_directories((std::filesystem::path(snapshot) / inside).parent_path());
    std::filesystem::create_symlink(blob, std::filesystem::path(snapshot) / inside);
  }
  CHECK(ModelFolder::open(model).digest() == folder.open().digest());
  CHECK(ModelFolder::open(snapshot).digest() == folder.open().digest());
}

TEST_CASE("a name that is neither a path nor in the hub cache says where it was sought") {
  check_error(
      ExitCode::kData, [] { ModelFolder::open("some-org/no-such-model-anywhere"); }, "some-org/no-such-model-anywhere",
      "models--some-org--no-such-model-anywhere");
}

TEST_CASE("a Stable Diffusion 2 folder is refused by name") {
  const PipelineFolder folder;
  folder.set_config("unet/config.json", "cross_attention_dim", 1024);
  check_error(
      ExitCode::kData, [&] { folder.open(); }, "Stable Diffusion 2", "1024");
}

TEST_CASE("a scheduler that is not known is refused by name") {
  const PipelineFolder folder;
  folder.set_config("scheduler/scheduler_config.json", "_class_name", "FlowMatchEulerDiscreteScheduler");
  check_error(
      ExitCode::kData, [&] { folder.open().scheduler(); }, "FlowMatchEulerDiscreteScheduler", "DDIMScheduler", "scheduler_config.json");
  folder.set_config("scheduler/scheduler_config.json", "_class_name", "EulerDiscreteScheduler");
  CHECK_NOTHROW(folder.open().scheduler());
}

TEST_CASE("the digest does not depend on the spelling of the VAE's attention, the dtype of equal values or position ids") {
  const PipelineFolder folder, other;
  other.edit_weights("vae/diffusion_pytorch_model.safetensors", [](TensorMap& tensors) {
    for (const auto& [name, tensor] : TensorMap(tensors)) {
      const auto at = name.find(".to_q.");
      if (at == std::string::npos) continue;
      tensors.erase(name);
      std::string first = name;
      tensors[first.replace(at, 6, ".query.")] = tensor.dim() == 2 ? tensor.unsqueeze(2).unsqueeze(3) : tensor;
    }
  });
  other.edit_weights(kTextWeights, [](TensorMap& tensors) {
    tensors["text_model.embeddings.position_ids"] = at::arange(9).unsqueeze(0);
    for (auto& [name, tensor] : tensors) tensor = tensor.is_floating_point() ? tensor.to(at::kDouble) : tensor;
  });
  CHECK(other.open().digest() == folder.open().digest());
}

TEST_CASE("loading leaves no view of the file behind and copies in the dtype that was asked for") {
  const PipelineFolder folder;
  const auto unet = folder.open().load_unet(at::kFloat);
  // Writing into the loaded network must not fault, as it would in the mapping, and must not change the file.
  const at::NoGradGuard no_grad;
  for (auto& parameter : unet->parameters()) parameter.zero_();
  CHECK(named_tensors(*folder.open().load_unet(at::kFloat)).at("conv_in.weight").abs().sum().item<float>() > 0.0F);
}
