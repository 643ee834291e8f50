#include "common/pocket/checker.h"

#include "common/diffusion/initialization.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"

using namespace nabla;

namespace {

std::shared_ptr<pocket::Checker> make_checker() {
  auto checker = std::make_shared<pocket::Checker>();
  initialize_parameters(*checker, 7);
  return checker;
}

}  // namespace

TEST_CASE("a checker judges alone as in a batch, in training mode too") {
  const auto checker = make_checker();
  checker->train();
  checker->forward(at::rand({4, 3, 32, 32}));  // moves the running statistics
  const Tensor images = at::rand({3, 3, 32, 32});
  const auto all = checker->judge(images), one = checker->judge(images.narrow(0, 1, 1));
  CHECK(at::allclose(all.features[1], one.features[0], 1e-5, 1e-6));
  CHECK(checker->is_training());
  CHECK(all.shape.max().item<std::int64_t>() < 6);
  CHECK(all.color.max().item<std::int64_t>() < 8);
  CHECK(all.count.max().item<std::int64_t>() < 3);
}

TEST_CASE("features tell pictures apart that differ in place alone") {
  const auto checker = make_checker();
  Tensor images = at::zeros({2, 3, 32, 32});
  images.slice(2, 4, 12).slice(3, 4, 12)[0].fill_(1.0);
  images.slice(2, 20, 28).slice(3, 20, 28)[1].fill_(1.0);
  const Tensor features = checker->judge(images).features;
  CHECK(at::cosine_similarity(features[0], features[1], 0).item<double>() < 0.98);
}

TEST_CASE("a checker comes back from its file with its running statistics, frozen") {
  TemporaryFolder folder;
  const auto checker = make_checker();
  checker->train();
  checker->forward(at::rand({4, 3, 32, 32}));
  checker->save(folder.file("checker.safetensors"), {{"seed", "7"}});
  const auto loaded = pocket::Checker::load(folder.file("checker.safetensors"));
  const Tensor images = at::rand({2, 3, 32, 32});
  CHECK(at::equal(checker->judge(images).features, loaded->judge(images).features));
  CHECK_FALSE(loaded->is_training());
  for (const auto& parameter : loaded->parameters()) CHECK_FALSE(parameter.requires_grad());
  CHECK(load_metadata(folder.file("checker.safetensors")).at("seed") == "7");
}

TEST_CASE("a checker's file without running statistics is refused by the tensor's name") {
  TemporaryFolder folder;
  make_checker()->save(folder.file("whole.safetensors"), {});
  TensorMap tensors = load_tensors(folder.file("whole.safetensors"));
  tensors.erase("norm2.running_var");
  save_tensors(folder.file("part.safetensors"), tensors);
  check_error(
      ExitCode::kData, [&] { pocket::Checker::load(folder.file("part.safetensors")); }, "part.safetensors", "norm2.running_var");
}
