// What a run keeps of a batch that is not finite, given to the probe.
#include "learner/non_finite_batch.h"

#include "common/files.h"
#include "learner/update_step.h"
#include "tests/common/error_check.h"
#include "tests/learner/tiny_model.h"
#include "tests/probe/probe_bench.h"

#include <filesystem>
#include <functional>

using namespace nabla;
using namespace nabla::testing;

namespace {

namespace fs = std::filesystem;

const std::stop_token kNeverStop;

// The words of a command line whose words stand alone or in single quotes.
std::vector<std::string> words_of(const std::string& command) {
  std::vector<std::string> words(1);
  bool quoted = false;
  for (const char letter : command) {
    if (letter == '\'') {
      quoted = !quoted;
    } else if (!quoted && (letter == ' ' || letter == '\n')) {
      words.emplace_back();
    } else {
      words.back() += letter;
    }
  }
  words.pop_back();
  return words;
}

// What the kept command does, without the words `nabla probe`.
ProbeOutcome repeat(const std::string& folder) {
  auto words = words_of(read_file(folder + "/command.sh", 10'000));
  REQUIRE(words.size() > 2);
  CHECK(words[0] == "nabla");
  CHECK(words[1] == "probe");
  words.erase(words.begin(), words.begin() + 2);
  return run_probe(words);
}

// A run's update of slots 0 to 3 whose slot 2 is `bad`, two slots a micro-batch: keeps what is not finite in `folder`, returns the error. `before` may change the
// weights.
std::string train_and_keep(const RunConfig& config, const TensorMap& bad, const std::string& folder,
                           const std::function<void(LoraAdapter&)>& before = {}) {
  TinyLearner learner(config);
  UpdateStep step(config, learner.model);
  REQUIRE(step.train(learner.update_of({0, 1, 2, 3}), kNeverStop));
  if (before) before(learner.model.policy->lora());
  UpdateRecords update = learner.update_of({0, 1, 3});
  update.records.insert(update.records.begin() + 2, learner.record(2, bad));
  std::string message;
  try {
    step.train(update, kNeverStop);
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kNonFinite);
    message = error.what();
  }
  REQUIRE(step.non_finite());
  CHECK(step.non_finite()->slots == std::vector<std::int64_t>{2, 3});
  write_non_finite_batch(folder, *step.non_finite(), config, learner.model);
  return message;
}

Tensor rows_of(double value) { return at::full({3, 4, 4, 4}, value); }

}  // namespace

TEST_CASE("the probe finds the loss of a kept batch not finite again, whatever the objective's settings") {
  const TinyModelFolder folder;
  const TemporaryFolder kept;
  const auto change = [&](auto set) {
    RunConfig config = tiny_config(folder);
    set(config);
    return config;
  };
  const std::vector<RunConfig> configs{change([](RunConfig&) {}), change([](RunConfig& c) { c.model.unet_reg_anchor = "previous"; }),
                                       change([](RunConfig& c) { c.model.reward_grad_clip_percentile = 90; }),
                                       change([](RunConfig& c) { c.model.terminal_weighting = "uniform"; }), change([](RunConfig& c) {
                                         c.model.no_flow = true;
                                         c.model.reverse_loss_scale = 0;
                                       })};
  for (std::size_t i = 0; i < configs.size(); ++i) {
    INFO(i);
    const std::string place = kept.file(fmt::format("update-{}", i));
    const std::string message = train_and_keep(configs[i], {{"eps_reference", rows_of(1e30)}}, place);
    CHECK(message.find("the loss of slots 2, 3 is") != std::string::npos);
    CHECK(fs::exists(place + "/flow") == !configs[i].model.no_flow);
    const ProbeOutcome outcome = repeat(place);
    INFO(outcome.message);
    REQUIRE(outcome.code == 0);
    CHECK(outcome.facts().at("loss").is_null());  // JSON has no word for it
    CHECK(fs::exists(place + "/gradients.safetensors"));
  }
}

TEST_CASE("a finite batch that is kept has the losses of the update") {
  const TinyModelFolder folder;
  const TemporaryFolder kept;
  const RunConfig config = tiny_config(folder);
  TinyLearner learner(config);
  UpdateStep step(config, learner.model);
  REQUIRE(step.train(learner.update_of({0, 1, 2, 3}), kNeverStop));
  PromptEncoder prompts(learner.model.text_encoder);
  const UpdateRecords update = learner.update_of({0, 1});
  const MicroBatch micro = collate(update.records, learner.model.table, {record_needs_of(config), {}}, prompts, learner.model.empty_prompt);
  write_non_finite_batch(kept.path() + "/batch", non_finite_batch(update.records, micro, config), config, learner.model);
  const auto metrics = step.train(update, kNeverStop).value();
  const ProbeOutcome outcome = repeat(kept.path() + "/batch");
  INFO(outcome.message);
  REQUIRE(outcome.code == 0);
  // The terminal loss is a mean over the terminal rows alone here, and over all rows of a slot there.
  const std::map<std::string, std::string> terms{
      {"loss_forward", "loss_forward"}, {"loss_reverse", "losses_backward"}, {"unet_reg", "unetreg"}};
  for (const auto& [name, metric] : terms) {
    INFO(name);
    CHECK(outcome.facts().at(name).get<double>() == doctest::Approx(metrics.at(metric)).epsilon(1e-5));
  }
}

TEST_CASE("where the losses are finite and a gradient is not, the batch of that gradient is kept") {
  const TinyModelFolder folder;
  const TemporaryFolder kept;
  // What comes out of A is so large that the gradient of B overflows, but B adds nothing to the prediction.
  const auto enlarge = [](LoraAdapter& lora) {
    const at::NoGradGuard no_grad;
    for (auto [name, tensor] : lora.tensors()) tensor.fill_(name.find("lora_A") == std::string::npos ? 0.0 : 1e30);
  };
  const std::string message = train_and_keep(tiny_config(folder), {{"eps_reference", rows_of(1e12)}}, kept.path() + "/batch", enlarge);
  CHECK(message.find("the gradient norm is") != std::string::npos);
  const ProbeOutcome outcome = repeat(kept.path() + "/batch");
  INFO(outcome.message);
  REQUIRE(outcome.code == 0);
  bool finite = true;
  for (const auto& [name, tensor] : load_tensors(kept.path() + "/batch/gradients.safetensors")) {
    if (name.starts_with("grad.")) finite = finite && tensor.isfinite().all().item<bool>();
  }
  CHECK_FALSE(finite);
}
