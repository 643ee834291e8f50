#include "common/config/record_needs.h"

#include "common/config/run_config.h"
#include "tests/common/error_check.h"
#include "tests/testing.h"

#include <functional>

using namespace nabla;

namespace {

using Names = std::vector<std::string>;

Names names_of(const std::function<void(RunConfig&)>& change) {
  RunConfig config;
  change(config);
  Names names = tensor_names(record_needs_of(config));
  REQUIRE(names.size() >= 3);
  CHECK(Names(names.begin(), names.begin() + 3) == Names{"x", "y", "eps_behaviour"});
  return {names.begin() + 3, names.end()};
}

}  // namespace

TEST_CASE("the default run's needs are those of default-made needs") {
  CHECK(record_needs_of(RunConfig()) == RecordNeeds());
  CHECK(names_of([](RunConfig&) {}) ==
        Names{"eps_reference", "reward_grad_y", "reward_grad_x", "reverse_score_reference", "reverse_score_policy"});
}

TEST_CASE("each reverse target asks for its own tensors") {
  CHECK(names_of([](RunConfig& c) { c.model.reverse_target = "rao_blackwell"; }) ==
        Names{"eps_reference", "reward_grad_y", "reward_grad_x", "reverse_rao_blackwell"});
  CHECK(names_of([](RunConfig& c) { c.model.reverse_target = "true_gradient"; }) ==
        Names{"eps_reference", "reward_grad_y", "reward_grad_x", "reverse_score_reference"});
}

TEST_CASE("each method asks for its own tensors, and says which kind of gradient they are") {
  struct Case {
    const char* method;
    const char* kind;
    bool flow;
    Names names;
  };
  const Case cases[] = {{"Plain-Nabla-DB", "terminal", true, {"reward_grad_y", "reverse_score_policy"}},
                        {"ReFL", "policy_fl", false, {"reward_grad_x0"}},
                        {"DRaFT-1", "terminal", false, {"reward_grad_y"}},
                        {"DRaFT-LV", "policy_fl", false, {"renoised_x", "renoised_reward_grad"}},
                        {"DDPO", "none", false, {}},
                        {"Adjoint-Matching", "lean_adjoint", false, {"eps_reference", "reward_grad_y"}}};
  for (const auto& expected : cases) {
    INFO(expected.method);
    RunConfig config;
    config.experiment.method = expected.method;
    CHECK(record_needs_of(config).gradient_kind == expected.kind);
    CHECK(record_needs_of(config).flow == expected.flow);
    CHECK(record_needs_of(config).terminal_row == (expected.method != std::string("ReFL")));
    CHECK(names_of([&](RunConfig& c) { c.experiment.method = expected.method; }) == expected.names);
  }
  RunConfig config;
  config.experiment.method = "GRPO";
  check_error(
      ExitCode::kUsage, [&] { record_needs_of(config); }, "GRPO", "Adjoint-Matching");
}

TEST_CASE("noisings have rows of their own") {
  RunConfig config;
  config.experiment.method = "DRaFT-LV";
  config.model.draft_lv_samples = 3;
  const RecordNeeds needs = record_needs_of(config);
  CHECK(rows_of_tensor("renoised_x", needs, 1) == 3);
  CHECK(rows_of_tensor("renoised_reward_grad", needs, 1) == 3);
  CHECK(rows_of_tensor("y", needs, 1) == 1);
}
