#include "actors/evaluate_ticket.h"
#include "common/diffusion/sampling.h"
#include "tests/actors/tickets.h"
#include "tests/common/error_check.h"

using namespace nabla;

namespace {

// A checker of random weights, saved as a trained one is.
std::string write_checker(const TinyModel& model) {
  pocket::Checker checker;
  initialize_parameters(checker, 8);
  checker.save(model.file("checker.safetensors"), {});
  return model.file("checker.safetensors");
}

struct EvaluationScene {
  EvaluationScene() : config(model.config()) {
    config.eval.checker = write_checker(model);
    bench = make_workbench(config);
    bench.policy->load(some_lora(*bench.policy));
  }
  EvaluationResult evaluate(const Ticket& ticket) {
    Progress progress = silent_progress();
    return evaluate_ticket(bench, ticket, progress);
  }
  Tensor latents(const Ticket& ticket, TrajectoryNoise noise) {
    std::vector<std::string> prompts;
    for (const auto& order : ticket.slots) prompts.push_back(order.prompt);
    return sample_latents(*bench.policy, WeightMode::kMerged, bench.table, encode_prompts(bench, prompts).conditioning, noise.start(),
                          [&](std::size_t) { return noise.next_step(); }, {});
  }

  TinyModel model;
  RunConfig config;
  Workbench bench;
};

Tensor result_tensor(const EvaluationResult& result, const std::string& name) { return tensor_of(result.table, result.data, name); }

}  // namespace

TEST_CASE("an evaluation judges the pictures of its own noise with every model there is") {
  EvaluationScene scene;
  const Ticket ticket = four_pictures();
  const EvaluationResult result = scene.evaluate(ticket);
  CHECK(result.ticket_id == 9);
  CHECK(result.pictures == std::vector<std::int64_t>{0, 1, 2, 3});
  CHECK(result.prompts == std::vector<std::string>{"a red star", "a red star", "two blue rings", "no caption of ours"});
  CHECK_FALSE(find_table_fault(result.table, result.data.view.size()));

  const Tensor images = decode_image(
      *scene.bench.vae, scene.latents(ticket, TrajectoryNoise::for_pictures({77, 77, 77, 77}, {0, 1, 2, 3}, scene.bench.latent_shape)));
  CHECK(result_tensor(result, "image").equal((images * 255.0).round().to(at::kByte)));
  CHECK(result_tensor(result, "reward").equal(scene.bench.reward->score(images, result.prompts)));
  CHECK(result_tensor(result, "true_reward").equal(scene.bench.true_reward->score(images, result.prompts)));
  const auto verdict = scene.bench.checker->judge(images);
  CHECK(result_tensor(result, "features").equal(verdict.features));
}

TEST_CASE("flags say what the checker sees of what the caption names") {
  EvaluationScene scene;
  const Ticket first = four_pictures();
  const auto verdict = scene.bench.checker->judge(decode_image(
      *scene.bench.vae, scene.latents(first, TrajectoryNoise::for_pictures({77, 77, 77, 77}, {0, 1, 2, 3}, scene.bench.latent_shape))));
  for (std::int64_t i = 0; i < 3; ++i) {
    const pocket::Scene asked = *pocket::parse_caption(first.slots[static_cast<std::size_t>(i)].prompt);
    const EvaluationResult result = scene.evaluate(first);
    CHECK((result_tensor(result, "shape_correct")[i].item<int>() == 1) == (verdict.shape[i].item<std::int64_t>() == asked.shape));
    CHECK((result_tensor(result, "color_correct")[i].item<int>() == 1) == (verdict.color[i].item<std::int64_t>() == asked.color));
    CHECK((result_tensor(result, "count_correct")[i].item<int>() == 1) == (verdict.count[i].item<std::int64_t>() == asked.count - 1));
  }
  // The noise does not depend on the prompt, so the caption of what is seen can be asked for; guidance 0 makes the picture the same.
  scene.config.sampling.guidance_scale = 0.0;
  scene.bench = make_workbench(scene.config);
  Ticket ticket = four_pictures();
  const auto seen = scene.bench.checker->judge(decode_image(
      *scene.bench.vae, scene.latents(ticket, TrajectoryNoise::for_pictures({77, 77, 77, 77}, {0, 1, 2, 3}, scene.bench.latent_shape))));
  const auto caption = [&](std::int64_t i, int other_color) {
    pocket::Scene named;
    named.shape = static_cast<int>(seen.shape[i].item<std::int64_t>());
    named.color = (static_cast<int>(seen.color[i].item<std::int64_t>()) + other_color) % static_cast<int>(pocket::kColors.size());
    named.count = static_cast<int>(seen.count[i].item<std::int64_t>()) + 1;
    return pocket::caption_of(named);
  };
  ticket.slots[0].prompt = caption(0, 0);
  ticket.slots[1].prompt = caption(1, 1);
  const EvaluationResult result = scene.evaluate(ticket);
  const auto flag = [&](const char* name, std::int64_t i) { return result_tensor(result, name)[i].item<int>(); };
  CHECK(flag("shape_correct", 0) + flag("color_correct", 0) + flag("count_correct", 0) == 3);
  CHECK(flag("shape_correct", 1) + flag("count_correct", 1) == 2);
  CHECK(flag("color_correct", 1) == 0);
  CHECK(flag("shape_correct", 3) + flag("color_correct", 3) + flag("count_correct", 3) == 0);
}

TEST_CASE("an evaluation is the same each time, and uses no training slot's noise") {
  EvaluationScene scene;
  const Ticket ticket = four_pictures();
  const EvaluationResult first = scene.evaluate(ticket), again = scene.evaluate(ticket);
  CHECK(same_bytes(first.data, again.data));
  const auto pictures = TrajectoryNoise::for_pictures({77, 77}, {0, 1}, scene.bench.latent_shape);
  for (std::int64_t slot = 0; slot < 8; ++slot) {
    auto training = TrajectoryNoise::for_slots({77}, {slot}, scene.bench.latent_shape);
    const Tensor start = training.start(), step = training.next_step();
    for (std::int64_t i = 0; i < 2; ++i) {
      CHECK((pictures.start()[i] - start[0]).abs().max().item<double>() > 0.5);
      CHECK((pictures.start()[i] - step[0]).abs().max().item<double>() > 0.5);
    }
  }
  Ticket moved = ticket;
  moved.slots[0].slot = 40;
  CHECK_FALSE(result_tensor(scene.evaluate(moved), "image")[0].equal(result_tensor(first, "image")[0]));
}

TEST_CASE("without a true reward and a checker their tensors are left out") {
  EvaluationScene scene;
  scene.bench.true_reward.reset();
  scene.bench.checker.reset();
  const EvaluationResult result = scene.evaluate(four_pictures());
  REQUIRE(result.table.size() == 2);
  CHECK(result.table[0].name == "image");
  CHECK(result.table[1].name == "reward");
}

TEST_CASE("an evaluation counts its forwards, and one without pictures is refused") {
  EvaluationScene scene;
  scene.bench.policy->counters = {};
  scene.evaluate(four_pictures());
  CHECK(scene.bench.policy->counters.forwards == 4 * 10);
  CHECK(scene.bench.policy->counters.backwards == 0);
  CHECK(scene.bench.counters.decoder_forwards == 4);
  CHECK(scene.bench.counters.reward_forwards == 4);
  CHECK(scene.bench.counters.reward_backwards == 0);
  Ticket empty = four_pictures();
  empty.slots.clear();
  check_error(
      ExitCode::kFailure, [&] { scene.evaluate(empty); }, "evaluation ticket 9", "no pictures");
}
