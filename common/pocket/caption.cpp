#include "common/pocket/caption.h"

#include "common/philox.h"

#include <fmt/format.h>

#include <algorithm>

namespace nabla::pocket {

namespace {

constexpr std::array<std::string_view, 6> kPlurals{"circles", "squares", "triangles", "stars", "rings", "crosses"};
constexpr std::array<std::string_view, kMaxCount> kCounts{"a", "two", "three"};

template <std::size_t N>
int index_of(const std::array<std::string_view, N>& words, std::string_view word) {
  const auto found = std::find(words.begin(), words.end(), word);
  return found == words.end() ? -1 : static_cast<int>(found - words.begin());
}

std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const auto end = std::min(text.find(' '), text.size());
    if (end > 0) words.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

Scene draw_scene(Philox& random) {
  Scene scene;
  scene.shape = static_cast<int>(random.below(kShapes.size()));
  scene.color = static_cast<int>(random.below(kColors.size()));
  scene.count = 1 + static_cast<int>(random.below(kMaxCount));
  scene.size = std::max(static_cast<int>(random.below(4)) - 2, -1);  // half of the captions name a size
  return scene;
}

}  // namespace

std::string caption_of(const Scene& scene) {
  const std::string_view count = kCounts[static_cast<std::size_t>(scene.count - 1)], color = kColors[static_cast<std::size_t>(scene.color)];
  const std::string_view shape = (scene.count == 1 ? kShapes : kPlurals)[static_cast<std::size_t>(scene.shape)];
  if (scene.size < 0) return fmt::format("{} {} {}", count, color, shape);
  return fmt::format("{} {} {} {}", count, kSizes[static_cast<std::size_t>(scene.size)], color, shape);
}

std::optional<Scene> parse_caption(std::string_view caption) {
  const auto words = split_words(caption);
  if (words.size() < 3 || words.size() > 4) return std::nullopt;
  Scene scene;
  scene.count = index_of(kCounts, words[0]) + 1;
  scene.size = words.size() == 4 ? index_of(kSizes, words[1]) : -1;
  scene.color = index_of(kColors, words[words.size() - 2]);
  scene.shape = scene.count == 1 ? index_of(kShapes, words.back()) : index_of(kPlurals, words.back());
  const bool known = scene.count > 0 && scene.color >= 0 && scene.shape >= 0 && (words.size() == 3 || scene.size >= 0);
  return known ? std::optional(scene) : std::nullopt;
}

std::vector<std::string> caption_words() {
  std::vector<std::string> words;
  const auto add = [&](const auto& list) { words.insert(words.end(), list.begin(), list.end()); };
  add(kCounts);
  add(kSizes);
  add(kColors);
  add(kShapes);
  add(kPlurals);
  return words;
}

Scene random_scene(std::uint64_t seed, std::uint64_t index) {
  Philox random(seed, RandomPurpose::kPrompt, index);
  return draw_scene(random);
}

bool is_held_out(const Scene& scene) {
  // One shape for each colour, count and size.
  return (scene.shape + scene.color + 2 * scene.count + scene.size + 1) % static_cast<int>(kShapes.size()) == 0;
}

Scene training_scene(std::uint64_t seed, std::uint64_t index) {
  Philox random(seed, RandomPurpose::kPrompt, index);
  Scene scene = draw_scene(random);
  while (is_held_out(scene)) scene = draw_scene(random);
  return scene;
}

Scene held_out_scene(std::uint64_t seed, std::uint64_t index) {
  Philox random(seed, RandomPurpose::kPrompt, index);
  Scene scene = draw_scene(random);
  while (!is_held_out(scene)) scene = draw_scene(random);
  return scene;
}

}  // namespace nabla::pocket
