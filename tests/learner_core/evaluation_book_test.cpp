#include "learner/evaluation_book.h"

#include "learner/picture_statistics.h"
#include "tests/testing.h"

using namespace nabla;

TEST_CASE("diversity is the mean pairwise 1 - cosine within a prompt") {
  // Prompt one: equal directions; prompt two: a right angle.
  CHECK(feature_diversity({{1, 0}, {2, 0}, {1, 0}, {0, 3}}, 2) == doctest::Approx(0.5));
  // Pictures of different prompts are not compared.
  CHECK(feature_diversity({{1, 0}, {1, 0}, {0, 1}, {0, 1}}, 2) == doctest::Approx(0.0));
  CHECK(feature_diversity({{1, 0}, {0, 1}}, 1) == 0.0);
  CHECK(diversity_by_prompt({{1, 0}, {2, 0}, {1, 0}, {0, 3}}, 2) == std::vector<double>{0.0, 1.0});
}

TEST_CASE("an answer with a tensor that reaches beyond its frame is refused") {
  EvaluationBook book(1);
  book.open(0, 0, 1, 0.0);
  Ticket ticket;
  ticket.slots.push_back({});
  const std::vector<float> reward{1.0F};
  const std::vector<std::uint8_t> pixels(3 * 4);
  const auto packed = pack_tensors({{"reward", {DType::kF32, {1}, std::as_bytes(std::span(reward))}},
                                    {"image", {DType::kU8, {1, 3, 2, 2}, std::as_bytes(std::span(pixels))}}});
  EvaluationResult result;
  result.pictures = {0};
  result.table = packed.table;
  result.data = packed.data;
  for (auto& entry : result.table) {
    const TensorEntry honest = entry;
    entry.offset = 4096;
    CHECK(book.add(ticket, result));
    entry = honest;
    entry.shape[0] = 1000;
    CHECK(book.add(ticket, result));
    entry = honest;
  }
  CHECK(!book.add(ticket, result));
  CHECK(book.take_finished().size() == 1);
  CHECK(!book.pending());
}
