#include "tests/probe/probe_bench.h"

#include <cmath>
#include <numbers>

using namespace nabla;

namespace {

// Stable Diffusion v1.5's schedule; with clipping and a final alpha-bar of 1 where a test sets them.
nlohmann::ordered_json sd15_scheduler() {
  return {{"_class_name", "PNDMScheduler"}, {"beta_start", 0.00085},     {"beta_end", 0.012}, {"beta_schedule", "scaled_linear"},
          {"num_train_timesteps", 1000},    {"set_alpha_to_one", false}, {"steps_offset", 1}, {"clip_sample", false}};
}

using Doubles = std::vector<double>;

Doubles numbers_of(const nlohmann::ordered_json& json) { return json.get<Doubles>(); }

nlohmann::ordered_json table_of(const ProbeBench& bench, std::vector<std::string> words) {
  words.insert(words.begin(), {"scheduler", "--model", bench.model()});
  const ProbeOutcome outcome = run_probe(words);
  INFO(outcome.message);
  REQUIRE(outcome.code == 0);
  return outcome.facts();
}

// Closed form of one transition (DDIM eq. 12 and 16) for x, eps [C,h,w] in double.
struct ClosedForm {
  Tensor mean;
  double sigma;
};
ClosedForm closed_form(double a, double b, double eta, const Tensor& x, const Tensor& eps, double clip) {
  const double sigma = eta * std::sqrt((1 - b) / (1 - a)) * std::sqrt(1 - a / b);
  const Tensor clean = ((x - eps * std::sqrt(1 - a)) / std::sqrt(a)).clamp(-clip, clip);
  return {clean * std::sqrt(b) + eps * std::sqrt(1 - b - sigma * sigma), sigma};
}

Tensor log_density(const Tensor& next, const ClosedForm& form) {
  return -((next - form.mean) / form.sigma).square() / 2 - std::log(form.sigma * std::sqrt(2 * std::numbers::pi));
}

struct StepCase {
  std::string sampler;
  int steps;
  double eta;
  std::vector<std::size_t> rows;  // transitions of the table, one a row of the batch
  double clip = 1e9;              // on the clean prediction
};

TensorMap step_inputs(const nlohmann::ordered_json& table, const StepCase& one) {
  at::manual_seed(5);
  const auto rows = static_cast<std::int64_t>(one.rows.size());
  const auto random = [&] { return at::randn({rows, 4, 3, 5}, at::kDouble); };
  std::vector<std::int64_t> timesteps;
  for (const auto row : one.rows) timesteps.push_back(table.at("timesteps")[row].get<std::int64_t>());
  return {{"sample", random()}, {"prediction", random()}, {"timestep", torch::tensor(timesteps, at::kLong)}, {"noise", random()}};
}

std::vector<std::string> words_of(const ProbeBench& bench, const StepCase& one, const std::string& dtype) {
  return {"--model", bench.model(),           "--sampler", one.sampler, "--steps", std::to_string(one.steps),
          "--eta",   std::to_string(one.eta), "--dtype",   dtype};
}

void check_row(const TensorMap& output, std::int64_t row, const Tensor& noise, const ClosedForm& form, double tolerance) {
  INFO("row ", row);
  const Tensor next = form.mean + noise * form.sigma;
  CHECK(relative_error(output.at("mean")[row], form.mean) <= tolerance);
  CHECK(relative_error(output.at("next")[row], next) <= tolerance);
  CHECK(output.at("std")[row].item<double>() == doctest::Approx(form.sigma).epsilon(tolerance));
  if (form.sigma == 0.0) return;
  const Tensor density = log_density(next, form);
  CHECK(output.at("log_prob")[row].item<double>() == doctest::Approx(density.mean().item<double>()).epsilon(tolerance));
  CHECK(output.at("log_prob_sum")[row].item<double>() == doctest::Approx(density.sum().item<double>()).epsilon(tolerance));
}

// From noise and, given the next state that came of it, again.
void check_step(const ProbeBench& bench, const StepCase& one, const std::string& dtype, double tolerance) {
  INFO(one.sampler, " ", one.steps, " steps, eta ", one.eta, " in ", dtype);
  const auto table = table_of(bench, {"--sampler", one.sampler, "--steps", std::to_string(one.steps), "--eta", std::to_string(one.eta)});
  TensorMap input = step_inputs(table, one);
  bench.write_input(input);
  TensorMap output = bench.compute("step", words_of(bench, one, dtype));
  for (auto& [name, tensor] : output) tensor = tensor.clone();  // the file is written again below
  for (std::size_t row = 0; row < one.rows.size(); ++row) {
    const auto i = static_cast<std::int64_t>(row);
    const double a = table.at("alpha_bar")[one.rows[row]], b = table.at("alpha_bar_next")[one.rows[row]];
    check_row(output, i, input.at("noise")[i], closed_form(a, b, one.eta, input.at("sample")[i], input.at("prediction")[i], one.clip),
              tolerance);
  }
  input.erase("noise");
  input["next"] = output.at("next");
  bench.write_input(input);
  for (const auto& [name, tensor] : bench.compute("step", words_of(bench, one, dtype))) {
    INFO(name);
    CHECK(tensor.equal(output.at(name)));
  }
}

}  // namespace

TEST_CASE("scheduler prints Stable Diffusion's table with all digits") {
  const ProbeBench bench;
  bench.set_scheduler(sd15_scheduler());
  const auto table = table_of(bench, {"--sampler", "ddim", "--steps", "50", "--eta", "1"});
  Doubles alpha_bars;
  const float start = std::sqrt(0.00085), end = std::sqrt(0.012);
  double product = 1.0;
  for (int t = 0; t < 1000; ++t) {
    const double root = start + (static_cast<double>(end) - start) * t / 999.0;
    alpha_bars.push_back(product *= 1.0 - root * root);
  }
  REQUIRE(table.at("timesteps").size() == 50);
  for (std::size_t j = 0; j < 50; ++j) {
    const std::int64_t t = 981 - 20 * static_cast<std::int64_t>(j), next = std::max<std::int64_t>(t - 20, 0);
    CHECK(table.at("timesteps")[j] == t);
    CHECK(table.at("next_timesteps")[j] == next);
    const double a = table.at("alpha_bar")[j], b = table.at("alpha_bar_next")[j], sigma = table.at("std")[j];
    CHECK(a == doctest::Approx(alpha_bars[static_cast<std::size_t>(t)]).epsilon(1e-5));  // betas are float32 in diffusers
    CHECK(b == doctest::Approx(alpha_bars[static_cast<std::size_t>(next)]).epsilon(1e-5));
    CHECK(sigma == doctest::Approx(std::sqrt((1 - b) / (1 - a) * (1 - a / b))).epsilon(1e-13));
    const double k = std::sqrt(b * (1 - a) / a) - std::sqrt(1 - b - sigma * sigma);
    CHECK(table.at("forward_weight")[j].get<double>() == doctest::Approx(k / (sigma * sigma)).epsilon(1e-12));
  }
  CHECK(table.at("next_timesteps").back() == 0);
  CHECK(table.at("config").at("beta_schedule") == "scaled_linear");
  CHECK(table.at("config").at("clip_sample_range") == 1.0);  // a class default
}

TEST_CASE("scheduler's weight is null where the std is 0") {
  const ProbeBench bench;
  const auto last = [&](const std::vector<std::string>& words) { return table_of(bench, words).at("forward_weight").back(); };
  CHECK(last({"--steps", "10", "--eta", "1"}).is_null());  // the class default ends at an alpha-bar of 1
  CHECK(table_of(bench, {"--steps", "10", "--eta", "1"}).at("forward_weight").front().is_number());
  for (const auto& weight : table_of(bench, {"--steps", "10", "--eta", "0"}).at("forward_weight")) CHECK(weight.is_null());
}

TEST_CASE("scheduler knows the grid of SDE-DPM-Solver++") {
  const ProbeBench bench;
  bench.set_scheduler(sd15_scheduler());
  const auto table = table_of(bench, {"--sampler", "sde-dpm-solver++", "--steps", "20"});
  CHECK(numbers_of(table.at("timesteps")).size() == 20);
  CHECK(table.at("timesteps")[0] == 999);
  CHECK(table.at("timesteps")[1] == 949);
  CHECK(table.at("next_timesteps")[0] == 949);
  CHECK(table.at("next_timesteps")[19] == 0);
}

TEST_CASE("step is the closed form of the transition, each row at its own timestep") {
  const ProbeBench bench;
  bench.set_scheduler(sd15_scheduler());
  for (const auto& one :
       {StepCase{"ddim", 50, 1.0, {0, 25, 49}}, StepCase{"ddim", 20, 0.5, {19, 3}}, StepCase{"sde-dpm-solver++", 20, 1.0, {0, 10, 19}}}) {
    check_step(bench, one, "float64", 1e-10);
    check_step(bench, one, "float32", 2e-5);
  }
}

TEST_CASE("step clips the clean prediction where the scheduler does") {
  const ProbeBench bench;
  auto config = sd15_scheduler();
  config["clip_sample"] = true;
  bench.set_scheduler(config);
  check_step(bench, {"ddim", 10, 1.0, {0, 4}, 1.0}, "float64", 1e-10);
}

TEST_CASE("step leaves the density out where the std is 0") {
  const ProbeBench bench;
  bench.set_scheduler(sd15_scheduler());
  const StepCase one{"ddim", 10, 0.0, {0, 9}};
  check_step(bench, one, "float64", 1e-10);
  CHECK(load_tensors(bench.file("out.safetensors")).size() == 3);
}

TEST_CASE("step in bfloat16 computes in float32, as a sampler does") {
  const ProbeBench bench;
  bench.set_scheduler(sd15_scheduler());
  check_step(bench, {"ddim", 50, 1.0, {10}}, "bfloat16", 2e-5);
}

TEST_CASE("step names a timestep that the table lacks, a sampler that is not known and too few or too many ends") {
  const ProbeBench bench;
  bench.set_scheduler(sd15_scheduler());
  const StepCase one{"ddim", 50, 1.0, {0}};
  TensorMap input = step_inputs(table_of(bench, {}), one);
  input["next"] = input.at("noise");
  const auto refuse = [&](int code, const std::vector<std::string>& parts, const StepCase& asked) {
    bench.write_input(input);
    const ProbeOutcome outcome = bench.run("step", words_of(bench, asked, "float32"));
    CHECK(outcome.code == code);
    CHECK(outcome.printed.empty());
    check_mentions(outcome.message, parts);
  };
  refuse(3, {"'next'", "'noise'", "both", "[1, 4, 3, 5]"}, one);
  input.erase("next");
  refuse(2, {"euler", "sde-dpm-solver++"}, {"euler", 50, 1.0, {}});
  input.erase("noise");
  refuse(3, {"'next'", "'noise'", "none"}, one);
  input["noise"] = input.at("sample");
  input["timestep"] = torch::tensor({980}, at::kLong);
  refuse(3, {"'timestep'", "980", "981, 961"}, one);
}
