#include "common/diffusion/transition_kernel.h"
#include "common/json_file.h"
#include "tests/common/error_check.h"
#include "tests/diffusion/parity_data.h"

#include <cmath>

using namespace nabla;

namespace {

SchedulerConfig sd15() {
  return SchedulerConfig::from_json({{"_class_name", "PNDMScheduler"},
                                     {"beta_start", 0.00085},
                                     {"beta_end", 0.012},
                                     {"beta_schedule", "scaled_linear"},
                                     {"num_train_timesteps", 1000},
                                     {"set_alpha_to_one", false},
                                     {"steps_offset", 1},
                                     {"skip_prk_steps", true},
                                     {"trained_betas", nullptr},
                                     {"clip_sample", false}},
                                    "sd15");
}

const Transition& at_timestep(const StepTable& table, std::int64_t timestep) {
  for (const auto& transition : table.transitions) {
    if (transition.timestep == timestep) return transition;
  }
  throw failure("the table has no timestep {}", timestep);
}

// `printed` has been rounded to `unit`, in places twice.
void check_printed(double value, double printed, double unit) {
  INFO(value, " against ", printed);
  CHECK(std::abs(value - printed) <= 0.6 * unit);
}

Tensor vector_of(const nlohmann::ordered_json& json) { return torch::tensor(json.get<std::vector<double>>(), at::kDouble); }

void check_case(const nlohmann::ordered_json& one, const Tensor& x, const Tensor& eps) {
  const auto sampler = sampler_from_name(one.at("sampler").get<std::string>());
  const auto steps = one.at("steps").get<std::int64_t>();
  const auto config = SchedulerConfig::from_json(nlohmann::json(one.at("config")), "case");
  const StepTable table = make_step_table(config, sampler, steps, one.at("eta").get<double>());
  INFO(one.at("config").dump(), " ", table.id);
  std::vector<std::int64_t> timesteps;
  for (const auto& transition : table.transitions) timesteps.push_back(transition.timestep);
  CHECK(timesteps == one.at("timesteps").get<std::vector<std::int64_t>>());
  // The solver's sigmas are float32 in diffusers.
  const double tolerance = sampler == Sampler::kDdim ? 1e-12 : 2e-5;
  for (const auto& row : one.at("rows")) {
    const Transition& transition = at_timestep(table, row.at("timestep").get<std::int64_t>());
    INFO("t = ", transition.timestep);
    CHECK(std::abs(transition.sigma - row.at("std").get<double>()) <= tolerance);
    CHECK(relative_error(transition_mean(table, transition, x, eps), vector_of(row.at("mean"))) <= tolerance);
    if (sampler != Sampler::kDdim) continue;
    CHECK(transition.next_timestep == row.at("next_timestep").get<std::int64_t>());
    CHECK(std::abs(transition.alpha_bar - row.at("alpha_bar").get<double>()) <= 1e-14);
    CHECK(std::abs(transition.alpha_bar_next - row.at("alpha_bar_next").get<double>()) <= 1e-14);
  }
}

}  // namespace

TEST_CASE("tables and means equal those of diffusers' schedulers") {
  const auto oracle = read_json(parity_file("scheduler.json"));
  const Tensor x = vector_of(oracle.at("sample")), eps = vector_of(oracle.at("prediction"));
  for (const auto& one : oracle.at("cases")) check_case(one, x, eps);
}

TEST_CASE("alpha-bars of SD v1.5 have their golden values") {
  const std::vector<double> alpha_bars = sd15().alpha_bars();
  const std::vector<std::pair<std::size_t, double>> golden{{0, 0.99915000},   {1, 0.99829603},   {20, 0.98131436},
                                                           {21, 0.98038075},  {41, 0.96087279},  {481, 0.30229566},
                                                           {961, 0.00728173}, {981, 0.00577550}, {999, 0.00466010}};
  for (const auto& [timestep, value] : golden) {
    INFO("t = ", timestep);
    CHECK(std::abs(alpha_bars[timestep] - value) <= 2e-8);  // betas are float32 here
  }
}

TEST_CASE("50 steps of SD v1.5 have the published sigmas and weights") {
  const StepTable table = make_step_table(sd15(), Sampler::kDdim, 50, 1.0);
  REQUIRE(table.transitions.size() == 50);
  struct Row {
    std::int64_t t;
    double alpha_bar, alpha_unit, sigma, weight, weight_unit;
  };
  const std::vector<Row> rows{{981, .00578, 1e-5, .4545, 1.13, .01}, {601, .1598, 1e-4, .3299, 1.19, .01},
                              {301, .5888, 1e-4, .2226, 1.75, .01},  {101, .8930, 1e-4, .1428, 4.00, .01},
                              {41, .9609, 1e-4, .0999, 10.2, .1},    {21, .9804, 1e-4, .0395, 82.9, .1},
                              {1, .9983, 1e-4, .0207, 48.6, .1}};
  for (const auto& row : rows) {
    INFO("t = ", row.t);
    const Transition& transition = at_timestep(table, row.t);
    check_printed(transition.alpha_bar, row.alpha_bar, row.alpha_unit);
    check_printed(transition.sigma, row.sigma, 1e-4);
    check_printed(transition.weight.value(), row.weight, row.weight_unit);
  }
  const std::vector<std::pair<std::int64_t, double>> sigmas{{981, .45446327}, {481, .28768527}, {21, .03947955}, {1, .02064832}};
  for (const auto& [t, sigma] : sigmas) CHECK(std::abs(at_timestep(table, t).sigma - sigma) <= 2e-8);
  double sum = 0.0;
  for (const auto& transition : table.transitions) sum += *transition.weight * *transition.weight;
  check_printed(sum, 9537, 1);
  CHECK(table.transitions.back().next_timestep == 0);
}

TEST_CASE("with eta 1 the weight is the closed form of the forward score") {
  for (const std::int64_t steps : {10, 20, 50}) {
    for (const Sampler sampler : {Sampler::kDdim, Sampler::kSdeDpmSolverPp}) {
      for (const auto& t : make_step_table(sd15(), sampler, steps, 1.0).transitions) {
        const double a = t.alpha_bar, b = t.alpha_bar_next, alpha = a / b;
        CHECK(t.weight.value() == doctest::Approx(std::sqrt(1 - a) / (std::sqrt(alpha) * (1 - b))).epsilon(1e-9));
        CHECK(t.noise_coefficient == doctest::Approx((1 - alpha) / (std::sqrt(alpha) * std::sqrt(1 - a))).epsilon(1e-9));
      }
    }
  }
}

TEST_CASE("first-order SDE-DPM-Solver++ is the kernel with eta 1 on its own grid") {
  const StepTable table = make_step_table(sd15(), Sampler::kSdeDpmSolverPp, 20, 1.0);
  const std::vector<std::int64_t> grid{999, 949, 899, 849, 799, 749, 699, 649, 599, 549, 500,
                                       450, 400, 350, 300, 250, 200, 150, 100, 50,  0};
  const std::vector<double> alpha_bars = sd15().alpha_bars();
  for (std::size_t j = 0; j < table.transitions.size(); ++j) {
    const Transition& t = table.transitions[j];
    CHECK(t.timestep == grid[j]);
    CHECK(t.next_timestep == grid[j + 1]);
    CHECK(t.alpha_bar_next == alpha_bars[static_cast<std::size_t>(grid[j + 1])]);
    // The solver's own coefficients (Lu et al. 2022): lambda = log(alpha/sigma), h = lambda' - lambda.
    const double alpha_x = std::sqrt(t.alpha_bar), sigma_x = std::sqrt(1 - t.alpha_bar);
    const double alpha_y = std::sqrt(t.alpha_bar_next), sigma_y = std::sqrt(1 - t.alpha_bar_next);
    const double h = std::log(alpha_y / sigma_y) - std::log(alpha_x / sigma_x);
    const double clean = alpha_y * (1 - std::exp(-2 * h)), direct = sigma_y / sigma_x * std::exp(-h);
    CHECK(std::abs(t.x_coefficient - (direct + clean / alpha_x)) <= 1e-12 * t.x_coefficient);
    CHECK(std::abs(t.noise_coefficient - clean * sigma_x / alpha_x) <= 1e-12);
    CHECK(std::abs(t.sigma - sigma_y * std::sqrt(1 - std::exp(-2 * h))) <= 1e-13);
  }
}

TEST_CASE("a step without noise has no weight") {
  for (const auto& transition : make_step_table(sd15(), Sampler::kDdim, 10, 0.0).transitions) {
    CHECK(transition.sigma == 0.0);
    CHECK_FALSE(transition.weight);
  }
  SchedulerConfig config = sd15();
  config.set_alpha_to_one = true;
  const StepTable table = make_step_table(config, Sampler::kDdim, 10, 1.0);
  CHECK(table.transitions.back().sigma == 0.0);
  CHECK_FALSE(table.transitions.back().weight);
  CHECK(table.transitions.front().weight);
}

TEST_CASE("the mean without noise leads from one noising of a picture to the next") {
  const StepTable table = make_step_table(sd15(), Sampler::kDdim, 5, 0.0);
  const Tensor picture = torch::tensor({0.5, -1.5, 3.0}, at::kDouble), eps = torch::tensor({1.0, -0.25, 0.125}, at::kDouble);
  for (const auto& t : table.transitions) {
    const Tensor x = std::sqrt(t.alpha_bar) * picture + std::sqrt(1 - t.alpha_bar) * eps;
    const Tensor y = std::sqrt(t.alpha_bar_next) * picture + std::sqrt(1 - t.alpha_bar_next) * eps;
    CHECK(relative_error(transition_mean(table, t, x, eps), y) < 1e-13);
    CHECK(relative_error(predict_clean(t, x, eps), picture) < 1e-13);
  }
}

TEST_CASE("the table's id tells samplers, steps, eta and schedules apart") {
  const auto id = [](const SchedulerConfig& config, Sampler sampler, std::int64_t steps, double eta) {
    return make_step_table(config, sampler, steps, eta).id;
  };
  SchedulerConfig other = sd15(), clipping = sd15();
  other.beta_end = 0.0121;
  clipping.clip_sample = true;
  const std::string own = id(sd15(), Sampler::kDdim, 20, 1.0);
  CHECK(own == id(sd15(), Sampler::kDdim, 20, 1.0));
  CHECK(own.starts_with("ddim/20/eta=1/"));
  CHECK(own != id(other, Sampler::kDdim, 20, 1.0));
  CHECK(own != id(clipping, Sampler::kDdim, 20, 1.0));
  CHECK(own != id(sd15(), Sampler::kDdim, 20, 0.5));
  CHECK(own != id(sd15(), Sampler::kSdeDpmSolverPp, 20, 1.0));
}

TEST_CASE("absent keys of a scheduler take DDIMScheduler's class defaults") {
  const SchedulerConfig config = SchedulerConfig::from_json(nlohmann::json::object(), "empty");
  CHECK(config.clip_sample);
  CHECK(config.set_alpha_to_one);
  CHECK(config.steps_offset == 0);
  CHECK(config.beta_schedule == "linear");
  const auto again = SchedulerConfig::from_json(nlohmann::json(sd15().to_json()), "again");
  CHECK(make_step_table(again, Sampler::kDdim, 50, 1.0).id == make_step_table(sd15(), Sampler::kDdim, 50, 1.0).id);
}

TEST_CASE("schedulers that are not supported are refused by key and value") {
  const auto refuse = [](const nlohmann::json& json, const char* key) {
    check_error(
        ExitCode::kData, [&] { SchedulerConfig::from_json(json, "scheduler_config.json"); }, "scheduler_config.json", key);
  };
  refuse({{"prediction_type", "v_prediction"}}, "v_prediction");
  refuse({{"beta_schedule", "squaredcos_cap_v2"}}, "squaredcos_cap_v2");
  refuse({{"trained_betas", {0.1, 0.2}}}, "trained_betas");
  refuse({{"rescale_betas_zero_snr", true}}, "rescale_betas_zero_snr");
  refuse({{"thresholding", true}}, "thresholding");
  refuse({{"timestep_spacing", "karras"}}, "karras");
  refuse({{"beta_start", "small"}}, "beta_start");
  refuse({{"num_train_timesteps", 1}}, "num_train_timesteps");
}

TEST_CASE("step tables that cannot be made are refused with the number") {
  const auto refuse = [](Sampler sampler, std::int64_t steps, double eta, const char* part) {
    check_error(
        ExitCode::kUsage, [&] { make_step_table(sd15(), sampler, steps, eta); }, part);
  };
  refuse(Sampler::kDdim, 0, 1.0, "0 sampling steps");
  refuse(Sampler::kDdim, 1001, 1.0, "1001 sampling steps");
  refuse(Sampler::kDdim, 1000, 1.0, "t = 1000");  // steps_offset 1
  refuse(Sampler::kSdeDpmSolverPp, 1000, 1.0, "1000 sampling steps");
  refuse(Sampler::kDdim, 50, -0.5, "-0.5");
  refuse(Sampler::kDdim, 50, std::nan(""), "nan");
  refuse(Sampler::kDdim, 50, 1.6, "eta 1.6");
  refuse(Sampler::kSdeDpmSolverPp, 20, 0.5, "0.5");
  check_error(
      ExitCode::kUsage, [] { sampler_from_name("euler"); }, "euler", "ddim");
}
