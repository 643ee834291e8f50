#include "common/files.h"
#include "common/json_file.h"
#include "learner/adamw.h"
#include "tests/probe/probe_bench.h"

#include <algorithm>
#include <filesystem>

using namespace nabla;

// Against tests/oracles/official_parity.py, which differentiates log-probabilities and pictures by autograd in float64.

namespace {

using Words = std::vector<std::string>;

struct OraclePrecision {
  const char* dtype;
  double error;
};
// The expected gradients are kept in float32.
constexpr OraclePrecision kOraclePrecisions[] = {{"float32", 1e-4}, {"float64", 2e-7}};

const std::vector<std::string> kTransitionTensors{"x", "y", "timestep", "next_timestep", "is_terminal"};

std::string official(const std::string& name) { return parity_file("official/" + name); }

nlohmann::ordered_json facts() { return read_json(official("facts.json")); }

struct OfficialBench : ProbeBench {
  OfficialBench() : ProbeBench({.unet = "official/unet", .vae = "official/vae", .text_encoder = "official/text_encoder"}) {
    set_scheduler(read_json(official("scheduler/scheduler_config.json")));
  }
};

Words settings_of(const nlohmann::ordered_json& list) { return list.get<Words>(); }

void append(Words& words, const Words& more) { words.insert(words.end(), more.begin(), more.end()); }

Words terms_words(const ProbeBench& bench, const std::string& kind) {
  std::string prompts;
  const auto told = facts();
  for (const auto& prompt : told.at("prompts")) prompts += prompt.get<std::string>() + "\n";
  write_file(bench.file("prompts.txt"), prompts);
  Words words{"--model",    bench.model(), "--lora",    official("lora.safetensors"),
              "--reward",   "mean-red",    "--prompts", bench.file("prompts.txt"),
              "--gradient", kind};
  append(words, settings_of(told.at("settings")));
  return words;
}

TensorMap terms_input(const std::string& kind) {
  Words names = kTransitionTensors;
  if (kind == "terminal") names.emplace_back("terminal_latents");
  return bundle_tensors("official/terms.safetensors", names);
}

Words loss_words(const ProbeBench& bench, const std::string& name) {
  const auto told = facts();
  Words words{"--model", bench.model(), "--lora", official("lora.safetensors"), "--flow", official("flow")};
  append(words, settings_of(told.at("settings")));
  append(words, settings_of(told.at("weights")));
  append(words, settings_of(told.at("cases").at(name).at("settings")));
  return words;
}

void check_near(double found, double expected, double error) {
  if (expected == 0.0) {
    CHECK(found == 0.0);
  } else {
    CHECK(found == doctest::Approx(expected).epsilon(error).scale(0));
  }
}

// Each loss and each gradient of a case, and no others but those of the flow network that the bundle leaves out. Of the input that is written.
void check_case(const ProbeBench& bench, const std::string& name, const OraclePrecision& precision) {
  INFO(name, " in ", precision.dtype);
  Words words = loss_words(bench, name);
  append(words, {"--dtype", precision.dtype});
  const ProbeOutcome outcome = bench.run("loss", words);
  INFO(outcome.message);
  REQUIRE(outcome.code == 0);
  const auto ours = outcome.facts(), expected = facts().at("cases").at(name);
  for (const char* key : {"loss", "loss_forward", "loss_reverse", "loss_terminal", "unet_reg"}) {
    INFO(key);
    check_near(ours.at(key).get<double>(), expected.at(key).get<double>(), precision.error);
  }
  const TensorMap output = load_tensors(bench.file("out.safetensors"));
  TensorMap gradients = load_tensors(official("gradients_" + name + ".safetensors"));
  // Together, so that a gradient that is zero has no error of its own.
  std::map<std::string, std::pair<std::vector<Tensor>, std::vector<Tensor>>> networks;
  for (const auto& [key, gradient] : gradients) {
    INFO(key);
    REQUIRE(output.contains(key));
    REQUIRE(output.at(key).sizes() == gradient.sizes());
    auto& [found, wanted] = networks[key.substr(0, std::string("grad.unet").size())];
    found.push_back(output.at(key).flatten().to(at::kDouble));
    wanted.push_back(gradient.flatten().to(at::kDouble));
  }
  for (const auto& [network, both] : networks) {
    INFO(network);
    CHECK(relative_error(at::cat(both.first), at::cat(both.second)) < precision.error);
  }
}

void check_refusal(const std::string& verb, const ProbeBench& bench, const Words& words, int code, const std::vector<std::string>& parts) {
  const ProbeOutcome outcome = bench.run(verb, words);
  CHECK(outcome.code == code);
  CHECK(outcome.printed.empty());
  CHECK_FALSE(std::filesystem::exists(bench.file("out.safetensors")));
  check_mentions(outcome.message, parts);
}

}  // namespace

TEST_CASE("terms gives what autograd makes of densities and pictures, for every gradient kind") {
  const OfficialBench bench;
  const TensorMap bundle = load_tensors(official("terms.safetensors"));
  for (const std::string kind : {"policy_fl", "reference_fl", "terminal"}) {
    for (const auto& precision : kOraclePrecisions) {
      INFO(kind, " in ", precision.dtype);
      bench.write_input(terms_input(kind));
      Words words = terms_words(bench, kind);
      append(words, {"--dtype", precision.dtype});
      const ProbeOutcome outcome = bench.run("terms", words);
      INFO(outcome.message);
      REQUIRE(outcome.code == 0);
      const TensorMap output = load_tensors(bench.file("out.safetensors"));
      CHECK(output.size() == 6);
      for (const char* name : {"eps_behaviour", "eps_reference", "reverse_score_reference", "reverse_score_policy"}) {
        INFO(name);
        CHECK(relative_error(output.at(name), bundle.at("policy_fl." + std::string(name))) < precision.error);
      }
      for (const char* name : {"reward_grad_y", "reward_grad_x"}) {
        INFO(name);
        CHECK(relative_error(output.at(name), bundle.at(kind + "." + name)) < precision.error);
      }
      const auto rewards = outcome.facts().at("rewards").get<std::vector<double>>();
      const auto expected = facts().at("rewards").at(kind).get<std::vector<double>>();
      REQUIRE(rewards.size() == expected.size());
      for (std::size_t row = 0; row < rewards.size(); ++row) check_near(rewards[row], expected[row], precision.error);
    }
  }
}

TEST_CASE("loss gives the release's losses and gradients with its switches, and this project's without") {
  const OfficialBench bench;
  bench.write_input(load_tensors(official("loss.safetensors")));
  const auto told = facts();
  for (const auto& [name, case_facts] : told.at("cases").items()) {
    if (name == "preset") continue;  // has reward gradients of its own
    for (const auto& precision : kOraclePrecisions) check_case(bench, name, precision);
  }
}

TEST_CASE("the official preset as a whole gives the release's terms, losses and gradients") {
  const OfficialBench bench;
  const TensorMap bundle = load_tensors(official("terms.safetensors"));
  for (const auto& precision : kOraclePrecisions) {
    INFO(precision.dtype);
    bench.write_input(terms_input("policy_fl"));
    Words words = terms_words(bench, "policy_fl");
    append(words, {"--config", "official", "--dtype", precision.dtype});
    const TensorMap terms = bench.compute("terms", words);
    TensorMap input = load_tensors(official("loss.safetensors"));
    for (const char* name : {"reward_grad_y", "reward_grad_x"}) {
      INFO(name);
      CHECK(relative_error(terms.at(name), bundle.at("release." + std::string(name))) < precision.error);
      // Without the rounding of alpha-bar they are others.
      CHECK(relative_error(bundle.at("policy_fl." + std::string(name)), bundle.at("release." + std::string(name))) > 1e-3);
      input[name] = terms.at(name).clone();
    }
    bench.write_input(input);
    check_case(bench, "preset", precision);
  }
}

TEST_CASE("clipped gradients, each applied twice, move the LoRA as torch's AdamW does") {
  const auto told = facts().at("adam");
  std::vector<Tensor> parameters;
  const TensorMap start = load_tensors(official("lora.safetensors")), expected = load_tensors(official("stepped.safetensors"));
  for (const auto& [name, value] : start) parameters.push_back(value.to(at::kDouble).requires_grad_());
  AdamW optimizer(parameters, {.lr = told.at("lr").get<double>(),
                               .beta1 = told.at("betas").at(0).get<double>(),
                               .beta2 = told.at("betas").at(1).get<double>(),
                               .epsilon = told.at("eps").get<double>(),
                               .weight_decay = told.at("weight_decay").get<double>()});
  double once_too_few = 0;
  for (const std::string name : {"preset", "strength_exact", "plain"}) {
    const TensorMap gradients = load_tensors(official("gradients_" + name + ".safetensors"));
    std::size_t i = 0;
    for (const auto& [key, value] : start) parameters[i++].mutable_grad() = gradients.at("grad." + key).to(at::kDouble);
    clip_grad_norm(parameters, 1.0);
    optimizer.step();
    once_too_few = relative_error(parameters[0].detach(), expected.begin()->second);
    optimizer.step();
  }
  std::size_t i = 0;
  for (const auto& [key, value] : expected) {
    INFO(key);
    CHECK(relative_error(parameters[i++].detach(), value) < 1e-12);
  }
  CHECK(once_too_few > 1e-5);
}

TEST_CASE("loss takes what terms wrote, and the forward residual is zero where the policy is the base model") {
  const OfficialBench bench;
  bench.write_input(terms_input("policy_fl"));
  const Words in_double{"--dtype", "float64"};
  Words terms_call = terms_words(bench, "policy_fl");
  append(terms_call, in_double);
  const TensorMap terms = bench.compute("terms", terms_call);
  TensorMap input = terms_input("policy_fl");
  for (const auto& [name, tensor] : terms) input[name] = tensor.clone();
  const TensorMap embeds = bundle_tensors("official/loss.safetensors", {"prompt_embeds", "negative_prompt_embeds"});
  input.insert(embeds.begin(), embeds.end());
  bench.write_input(input);
  Words words = loss_words(bench, "no_flow");
  append(words, {"model.reward_scale=0", "--lora-scale", "0"});
  append(words, in_double);
  const TensorMap output = bench.compute("loss", words);
  CHECK(output.at("residual_forward").abs().max().item<double>() < 1e-10);
  CHECK_FALSE(output.contains("residual_reverse"));
}

TEST_CASE("loss notices a wrong sign, a missing anchor and the wrong map of gradients") {
  const OfficialBench bench;
  TensorMap input = load_tensors(official("loss.safetensors"));
  const auto expected = facts().at("cases").at("official");
  const auto loss_with = [&](const char* name, double factor) {
    TensorMap changed = input;
    changed[name] = input.at(name) * factor;
    bench.write_input(changed);
    Words words = loss_words(bench, "official");
    append(words, {"--dtype", "float64"});
    return bench.run("loss", words).facts().at("loss").get<double>();
  };
  check_near(loss_with("x", 1.0), expected.at("loss").get<double>(), 1e-6);
  for (const char* name : {"reward_grad_y", "reward_grad_x", "reverse_score_policy", "eps_behaviour"})
    CHECK(std::abs(loss_with(name, -1.0) / expected.at("loss").get<double>() - 1.0) > 1e-4);
  bench.write_input(input);
  const auto flow_gradient = [&](const std::string& name) {
    Words words = loss_words(bench, name);
    append(words, {"--dtype", "float64"});
    return bench.compute("loss", words).at("grad.flow.conv_in.weight").clone();
  };
  // They differ by compat.flow_from_forward_loss alone.
  CHECK(relative_error(flow_gradient("detached"), flow_gradient("official")) > 1e-3);
}

TEST_CASE("in float64 the loss's gradients are finite differences of what it prints, by a LoRA of a float64 file") {
  const OfficialBench bench;
  bench.write_input(load_tensors(official("loss.safetensors")));
  const TensorMap lora = load_tensors(official("lora.safetensors"));
  const std::string moved = bench.file("moved.safetensors");
  const auto words_with = [&](double step) {
    TensorMap tensors;
    for (const auto& [name, tensor] : lora) tensors[name] = tensor.to(at::kDouble) * (1.0 + step);
    save_tensors(moved, tensors);
    Words words = loss_words(bench, "detached");
    *(std::find(words.begin(), words.end(), "--lora") + 1) = moved;
    append(words, {"--dtype", "float64"});
    return words;
  };
  constexpr double kStep = 1e-6;
  const auto loss_at = [&](double step) { return bench.run("loss", words_with(step)).facts().at("loss").get<double>(); };
  const double difference = (loss_at(kStep) - loss_at(-kStep)) / (2.0 * kStep);
  const TensorMap output = bench.compute("loss", words_with(0.0));
  double derivative = 0.0;
  for (const auto& [name, tensor] : lora) derivative += (output.at("grad." + name) * tensor).sum().item<double>();
  CHECK(difference == doctest::Approx(derivative).epsilon(1e-6).scale(0));
}

TEST_CASE("terms and loss name the tensor that is missing, extra or badly shaped") {
  const OfficialBench bench;
  const auto change = [](TensorMap input, const std::string& name, const Tensor& value) {
    input.erase(name);
    if (value.defined()) input[name] = value;
    return input;
  };
  const TensorMap points = terms_input("policy_fl"), whole = load_tensors(official("loss.safetensors"));
  const Words terms = terms_words(bench, "policy_fl"), loss = loss_words(bench, "official");
  bench.write_input(change(points, "is_terminal", {}));
  check_refusal("terms", bench, terms, 3, {"'is_terminal'", "missing", "uint8", "[N] with N = 5"});
  bench.write_input(change(points, "is_terminal", at::zeros({5}, at::kLong)));
  check_refusal("terms", bench, terms, 3, {"'is_terminal'", "I64", "uint8"});
  bench.write_input(change(points, "y", at::zeros({5, 3, 6, 8})));
  check_refusal("terms", bench, terms, 3, {"'y'", "[5, 3, 6, 8]", "C = 4"});
  bench.write_input(change(points, "terminal_latents", at::zeros({5, 4, 6, 8})));
  check_refusal("terms", bench, terms, 3, {"'terminal_latents'", "not expected"});
  bench.write_input(points);
  check_refusal("terms", bench, terms_words(bench, "terminal"), 3, {"'terminal_latents'", "missing"});
  bench.write_input(change(points, "timestep", at::full({5}, 400, at::kLong)));
  check_refusal("terms", bench, terms, 3, {"'timestep'", "400", "901 to 801", "sampling.num_steps"});
  for (const char* name : {"reverse_score_policy", "reward_grad_x", "eps_behaviour", "prompt_embeds"}) {
    bench.write_input(change(whole, name, {}));
    check_refusal("loss", bench, loss, 3, {name, "missing"});
  }
  bench.write_input(change(whole, "surprise", at::zeros({1})));
  check_refusal("loss", bench, loss, 3, {"'surprise'", "not expected"});
  bench.write_input(change(whole, "prompt_embeds", at::zeros({4, 16, 6})));
  check_refusal("loss", bench, loss, 3, {"'prompt_embeds'", "[4, 16, 6]", "N = 5"});
}

TEST_CASE("terms wants one prompt a transition") {
  const OfficialBench bench;
  bench.write_input(terms_input("policy_fl"));
  const Words words = terms_words(bench, "policy_fl");
  write_file(bench.file("prompts.txt"), "one\ntwo\n");
  check_refusal("terms", bench, words, 3, {"prompts.txt", "2 lines", "5 transitions"});
}

TEST_CASE("terms and loss refuse settings that they cannot have") {
  const OfficialBench bench;
  bench.write_input(load_tensors(official("loss.safetensors")));
  const auto with = [](Words words, const Words& more) {
    append(words, more);
    return words;
  };
  const Words loss = loss_words(bench, "official");
  check_refusal("loss", bench, with(loss, {"model.reward_scal=3"}), 2, {"reward_scal", "reward_scale"});
  check_refusal("loss", bench, with(loss, {"--dtype", "bfloat16"}), 2, {"bfloat16", "float64"});
  check_refusal("loss", bench, with(loss, {"sampling.eta=0"}), 2, {"sigma = 0", "sampling.eta"});
  check_refusal("loss", bench, with(loss, {"experiment.method=DRaFT-LV"}), 2, {"DRaFT-LV"});
  check_refusal("loss", bench, with(loss, {"--gradient", "final"}), 2, {"final", "policy_fl"});
  check_refusal("loss", bench, {"--model", bench.model()}, 2, {"--lora"});
  check_refusal("loss", bench, {"--model", bench.model(), "--lora", official("lora.safetensors")}, 2, {"--flow", "no_flow"});
  bench.write_input(terms_input("policy_fl"));
  check_refusal("terms", bench, terms_words(bench, "lean_adjoint"), 2, {"lean_adjoint", "policy_fl"});
  check_refusal("terms", bench, terms_words(bench, "final"), 2, {"final", "policy_fl"});
}
