#include "learner/transition_choice.h"

#include "common/config/run_config.h"
#include "tests/testing.h"

#include <algorithm>
#include <cmath>
#include <set>

using namespace nabla;

TEST_CASE("fifty steps at a tenth give five bins and the terminal transition") {
  const TransitionChoice choice{50, 0.1, true};
  CHECK(rows_per_slot(choice) == 6);
  CHECK(bin_sizes(49, 5) == std::vector<std::int64_t>{10, 10, 10, 10, 9});
  for (std::int64_t slot = 0; slot < 300; ++slot) {
    const auto steps = choose_transitions(choice, 3, slot);
    REQUIRE(steps.size() == 6);
    for (std::int32_t bin = 0; bin < 5; ++bin) CHECK(steps[static_cast<std::size_t>(bin)] / 10 == bin);
    CHECK(steps[4] != 49);
    CHECK(steps[5] == 49);
  }
}

TEST_CASE("a number of steps that the bins do not divide is spread by largest remainder") {
  const TransitionChoice choice{20, 0.4, true};
  CHECK(rows_per_slot(choice) == 9);
  CHECK(bin_sizes(19, 8) == std::vector<std::int64_t>{3, 3, 3, 2, 2, 2, 2, 2});
  for (std::int64_t slot = 0; slot < 100; ++slot) {
    const auto steps = choose_transitions(choice, 1, slot);
    CHECK(std::is_sorted(steps.begin(), steps.end()));
    CHECK(std::set(steps.begin(), steps.end()).size() == 9);
  }
}

TEST_CASE("a fraction that floating point rounds down still counts its bins") {
  CHECK(rows_per_slot({10, 0.3, true}) == 4);
  CHECK(rows_per_slot({50, 0.58, true}) == 30);
}

TEST_CASE("fraction one takes every step once") {
  for (const bool stratified : {true, false}) {
    const auto steps = choose_transitions({10, 1.0, stratified}, 5, 2);
    REQUIRE(steps.size() == 10);
    for (std::int32_t i = 0; i < 10; ++i) CHECK(steps[static_cast<std::size_t>(i)] == i);
  }
}

TEST_CASE("one sampling step is the terminal transition alone") {
  CHECK(choose_transitions({1, 0.1, true}, 5, 2) == std::vector<std::int32_t>{0});
}

TEST_CASE("without strata the other transitions are distinct and uniform") {
  std::vector<int> drawn(10);
  for (std::int64_t slot = 0; slot < 3000; ++slot) {
    const auto steps = choose_transitions({10, 0.3, false}, 11, slot);
    REQUIRE(steps.size() == 4);
    CHECK(std::set(steps.begin(), steps.end()).size() == 4);
    CHECK(steps.back() == 9);
    for (const auto step : steps) ++drawn[static_cast<std::size_t>(step)];
  }
  // 3000 slots, 3 of 9: 1000 each, standard deviation 26.
  for (std::size_t step = 0; step < 9; ++step) CHECK(std::abs(drawn[step] - 1000) < 130);
}

TEST_CASE("the choice depends on seed and slot alone") {
  const TransitionChoice choice{50, 0.1, true};
  CHECK(choose_transitions(choice, 3, 17) == choose_transitions(choice, 3, 17));
  CHECK(choose_transitions(choice, 3, 17) != choose_transitions(choice, 4, 17));
  CHECK(choose_transitions(choice, 3, 17) != choose_transitions(choice, 3, 18));
}

TEST_CASE("a late step is one of the last share before the terminal transition, each as likely") {
  TransitionChoice choice{50, 0.1, true};
  choice.set = TransitionSet::kLateOne;
  choice.last_fraction = 0.3;
  CHECK(rows_per_slot(choice) == 1);
  std::vector<int> drawn(50);
  for (std::int64_t slot = 0; slot < 1400; ++slot) {
    const auto steps = choose_transitions(choice, 3, slot);
    REQUIRE(steps.size() == 1);
    ++drawn[static_cast<std::size_t>(steps[0])];
  }
  // 1400 slots, one of 14 steps: 100 each, standard deviation 10.
  const auto chances = inclusion_probabilities(choice);
  for (std::size_t step = 0; step < 50; ++step) {
    const bool late = step >= 35 && step < 49;
    CHECK(chances[step] == (late ? 1.0 / 14 : 0.0));
    CHECK(std::abs(drawn[step] - (late ? 100 : 0)) < (late ? 50 : 1));
  }
  choice.num_steps = 2;
  CHECK(choose_transitions(choice, 3, 0) == std::vector<std::int32_t>{0});
  choice.num_steps = 1;
  CHECK(choose_transitions(choice, 3, 0) == std::vector<std::int32_t>{0});
}

TEST_CASE("the terminal transition alone is one row, whatever the fraction") {
  TransitionChoice choice{50, 1.0, true};
  choice.set = TransitionSet::kTerminal;
  CHECK(rows_per_slot(choice) == 1);
  CHECK(choose_transitions(choice, 3, 8) == std::vector<std::int32_t>{49});
}

TEST_CASE("chances of a step are those of the draws, and add up to the rows of a slot") {
  for (const bool stratified : {true, false}) {
    for (const TransitionChoice& choice : {TransitionChoice{20, 0.4, stratified}, TransitionChoice{7, 0.5, stratified}}) {
      const auto chances = inclusion_probabilities(choice);
      std::vector<double> drawn(chances.size(), 0.0);
      constexpr int kSlots = 4000;
      for (int slot = 0; slot < kSlots; ++slot) {
        for (const auto step : choose_transitions(choice, 5, slot)) drawn[static_cast<std::size_t>(step)] += 1.0 / kSlots;
      }
      double sum = 0.0;
      for (std::size_t step = 0; step < chances.size(); ++step) {
        sum += chances[step];
        CHECK(std::abs(drawn[step] - chances[step]) < 0.04);  // five deviations
      }
      CHECK(sum == doctest::Approx(static_cast<double>(rows_per_slot(choice))));
      CHECK(chances.back() == 1.0);
    }
  }
}

TEST_CASE("a run's method says which transitions its records have") {
  RunConfig config;
  CHECK((transition_choice_of(config).set == TransitionSet::kSpread));
  config.experiment.method = "ReFL";
  config.model.refl_last_fraction = 0.2;
  CHECK((transition_choice_of(config).set == TransitionSet::kLateOne));
  CHECK(transition_choice_of(config).last_fraction == 0.2);
  config.experiment.method = "DRaFT-LV";
  CHECK((transition_choice_of(config).set == TransitionSet::kTerminal));
}
