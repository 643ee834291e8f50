#include "actors/rewards/reward_model.h"
#include "common/pocket/checker.h"
#include "common/pocket/lantern.h"
#include "common/pocket/renderer.h"
#include "tests/testing.h"

using namespace nabla;

namespace {

// Pictures that no training has seen: scenes of another seed.
struct RenderedPictures {
  Tensor images;  // [N,3,32,32]
  std::vector<pocket::Scene> scenes;
};

RenderedPictures render_scenes(std::uint64_t number) {
  RenderedPictures rendered;
  std::vector<Tensor> images;
  for (std::uint64_t i = 0; i < number; ++i) {
    rendered.scenes.push_back(pocket::random_scene(4711, i));
    images.push_back(torch::tensor(pocket::render(rendered.scenes.back(), 4711, i)).view({3, 32, 32}));
  }
  rendered.images = at::stack(images);
  return rendered;
}

double correlation(const Tensor& a, const Tensor& b) {
  const Tensor x = a - a.mean(), y = b - b.mean();
  return ((x * y).sum() / (x.norm() * y.norm())).item<double>();
}

}  // namespace

TEST_CASE("the pocket reward agrees with the true preference on rendered pictures, and its gradient leans its way") {
  const auto rendered = render_scenes(128);
  const std::vector<std::string> prompts(128);
  const auto learned = make_reward({.name = "aesthetic_score", .model = NABLA_ASSETS "/pocket/reward"});
  const auto truth = make_reward({.name = "lantern", .model = {}});
  const auto ours = reward_gradient(*learned, rendered.images, prompts), right = reward_gradient(*truth, rendered.images, prompts);
  CHECK(correlation(ours.score, right.score) >= 0.95);
  CHECK(at::cosine_similarity(ours.grad_image.flatten(1), right.grad_image.flatten(1), 1).mean().item<double>() >= 0.25);
}

TEST_CASE("the pocket checker sees shape, colour and count of rendered pictures") {
  const auto rendered = render_scenes(256);
  const auto verdict = pocket::Checker::load(NABLA_ASSETS "/pocket/checker.safetensors")->judge(rendered.images);
  int shape = 0, color = 0, count = 0;
  for (std::int64_t i = 0; i < 256; ++i) {
    const pocket::Scene& scene = rendered.scenes[static_cast<std::size_t>(i)];
    shape += verdict.shape[i].item<std::int64_t>() == scene.shape;
    color += verdict.color[i].item<std::int64_t>() == scene.color;
    count += verdict.count[i].item<std::int64_t>() == scene.count - 1;
  }
  CHECK(shape >= 248);  // 97%
  CHECK(color >= 248);
  CHECK(count >= 248);
}
