#include "actors/install_weights.h"
#include "tests/actors/tiny_model.h"
#include "tests/common/error_check.h"

using namespace nabla;

namespace {

constexpr std::int64_t kVersion = 6;

// An actor's bench, and what a learner with the same base model publishes.
struct InstallScene {
  InstallScene() : bench(make_workbench(model.config())), learner(make_workbench(model.config())), lora(some_lora(*learner.policy)) {}

  TensorMap tensors() { return snapshot_tensors(learner, lora); }
  Snapshot pack(const TensorMap& tensors) const { return pack_snapshot(kVersion, digest_of(lora), bench.base_digest, tensors); }
  template <class... Parts>
  void check_refused(ExitCode code, const Snapshot& snapshot, const Parts&... parts) {
    check_error(
        code, [&] { install_weights(bench, snapshot); }, parts...);
  }

  TinyModel model;
  Workbench bench, learner;
  TensorMap lora;
};

const std::string kFirst = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k.lora_A.weight";

// A snapshot's bytes may not be written to; a copy with one byte changed may.
Snapshot with_byte_flipped(const Snapshot& snapshot, const std::string& tensor) {
  const TensorEntry* entry = find_tensor(snapshot.table, tensor);
  REQUIRE(entry != nullptr);
  auto bytes = std::make_shared<std::vector<std::byte>>(snapshot.data.view.begin(), snapshot.data.view.end());
  (*bytes)[entry->offset] ^= std::byte{1};
  Snapshot changed = snapshot;
  changed.data = {bytes, *bytes};
  return changed;
}

}  // namespace

TEST_CASE("a published version is installed and sampled with") {
  InstallScene scene;
  const auto counters = scene.bench.policy->counters.forwards;
  install_weights(scene.bench, scene.pack(scene.tensors()));
  CHECK(scene.bench.policy->digest() == digest_of(scene.lora));
  CHECK(scene.bench.policy->counters.forwards == counters);
  const Conditioning conditioning = encode_prompts(scene.bench, {"a red star"}).conditioning;
  const Tensor x = draw({1, 4, 8, 8}, 30), time = torch::tensor({501}, at::kLong);
  const Tensor expected = scene.learner.policy->predict(WeightMode::kAdapter, x, time, conditioning);
  CHECK(relative_error(scene.bench.policy->predict(WeightMode::kMerged, x, time, conditioning), expected) < 1e-5);
  CHECK(relative_error(scene.bench.policy->predict(WeightMode::kBase, x, time, conditioning), expected) > 1e-2);
}

TEST_CASE("version 0, whose adapter changes nothing, is installed") {
  InstallScene scene;
  scene.lora = scene.learner.policy->lora().tensors();
  for (auto& [name, tensor] : scene.lora) tensor = tensor.clone();
  const TensorMap tensors = scene.tensors();
  CHECK(tensors.at("check.difference").abs().max().item<double>() < 1e-5);
  install_weights(scene.bench, scene.pack(tensors));
  CHECK(scene.bench.policy->digest() == digest_of(scene.lora));
}

TEST_CASE("adapters of every size pass their own check pair") {
  InstallScene scene;
  for (const double size : {1e-4, 1e-3, 1e-2, 0.1, 1.0}) {
    INFO("size ", size);
    scene.lora = some_lora(*scene.learner.policy, size);
    CHECK_NOTHROW(install_weights(scene.bench, scene.pack(scene.tensors())));
  }
}

TEST_CASE("a changed byte of the weights is refused with both digests") {
  InstallScene scene;
  const Snapshot changed = with_byte_flipped(scene.pack(scene.tensors()), kFirst);
  TensorMap received = scene.lora;
  received[kFirst] = received[kFirst].clone();
  *static_cast<unsigned char*>(received[kFirst].data_ptr()) ^= 1;
  scene.check_refused(ExitCode::kFailure, changed, "version 6", digest_of(scene.lora), digest_of(received));
}

TEST_CASE("weights that are loaded but not used are refused with both values") {
  InstallScene scene;
  TensorMap tensors = scene.tensors();
  tensors["check.difference"] = 2.0 * tensors["check.difference"];
  const auto rms = [](const Tensor& values) { return fmt::format("{:.3e}", std::sqrt(values.square().mean().item<double>())); };
  scene.check_refused(ExitCode::kFailure, scene.pack(tensors), "version 6", "not used", rms(tensors["check.difference"]));

  // A network that passes its adapters over: the announced change does not come out of it.
  InstallScene deaf;
  const TensorMap announced = deaf.tensors();
  const at::NoGradGuard no_grad;
  named_tensors(deaf.bench.policy->unet()).at("conv_out.weight").zero_();
  deaf.check_refused(ExitCode::kFailure, deaf.pack(announced), "not used", "0.000e+00", rms(announced.at("check.difference")));
}

TEST_CASE("weights of another base model are refused with both digests") {
  InstallScene scene;
  Snapshot snapshot = scene.pack(scene.tensors());
  snapshot.base_digest = "other";
  scene.check_refused(ExitCode::kData, snapshot, "other", scene.bench.base_digest, "pretrained.model");
}

TEST_CASE("missing, unknown and badly shaped weights are named") {
  InstallScene scene;
  TensorMap tensors = scene.tensors();
  tensors.erase(kFirst);
  scene.check_refused(ExitCode::kData, scene.pack(tensors), kFirst, "missing");
  tensors = scene.tensors();
  tensors["up.lora_A.weight"] = at::zeros({2, 2});
  scene.check_refused(ExitCode::kData, scene.pack(tensors), "up.lora_A.weight");
  tensors = scene.tensors();
  tensors[kFirst] = at::zeros({3, 4});
  scene.check_refused(ExitCode::kData, scene.pack(tensors), kFirst, "[3, 4]", "[2, 4]");
}

TEST_CASE("a check pair that is not whole or does not fit is refused before anything is loaded") {
  InstallScene scene;
  const std::string before = scene.bench.policy->digest();
  TensorMap tensors = scene.tensors();
  tensors.erase("check.timestep");
  scene.check_refused(ExitCode::kFailure, scene.pack(tensors), "version 6", "check.timestep");
  for (const auto& [name, bad] : TensorMap{{"check.sample", at::zeros({2, 4, 8, 6})},
                                           {"check.timestep", at::zeros({2})},
                                           {"check.prompt_embeds", at::zeros({2, 12, 7})},
                                           {"check.negative_embeds", at::zeros({2, 12, 6})},
                                           {"check.difference", at::zeros({1, 4, 8, 8})}}) {
    tensors = scene.tensors();
    tensors[name] = bad;
    scene.check_refused(ExitCode::kFailure, scene.pack(tensors), "version 6", "check pair", shape_string(bad));
  }
  CHECK(scene.bench.policy->digest() == before);
}

TEST_CASE("a table that does not fit its frame is refused by tensor") {
  InstallScene scene;
  Snapshot snapshot = scene.pack(scene.tensors());
  snapshot.table.back().shape[0] += 1000;
  scene.check_refused(ExitCode::kFailure, snapshot, "version 6", snapshot.table.back().name);
}
