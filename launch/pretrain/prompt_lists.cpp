#include "launch/pretrain/prompt_lists.h"

#include "common/files.h"
#include "common/philox.h"
#include "common/pocket/caption.h"

#include <filesystem>
#include <utility>
#include <vector>

namespace nabla {

namespace {

constexpr int kNumSizes = static_cast<int>(pocket::kSizes.size());

std::vector<pocket::Scene> all_scenes() {
  std::vector<pocket::Scene> scenes;
  for (int shape = 0; shape < static_cast<int>(pocket::kShapes.size()); ++shape) {
    for (int color = 0; color < static_cast<int>(pocket::kColors.size()); ++color) {
      for (int count = 1; count <= pocket::kMaxCount; ++count) {
        for (int size = -1; size < kNumSizes; ++size) scenes.push_back({.shape = shape, .color = color, .count = count, .size = size});
      }
    }
  }
  return scenes;
}

// Fisher and Yates.
template <class Item>
void shuffle(std::vector<Item>& items, Philox random) {
  for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random.below(static_cast<std::uint32_t>(i))]);
}

}  // namespace

void write_prompt_lists(const std::string& folder, std::uint64_t seed) {
  std::vector<pocket::Scene> scenes = all_scenes();
  shuffle(scenes, {seed, RandomPurpose::kShuffle, 0});
  std::string shown, held_out;
  for (const auto& scene : scenes) (pocket::is_held_out(scene) ? held_out : shown) += pocket::caption_of(scene) + "\n";
  std::filesystem::create_directories(folder);
  write_file(folder + "/train.txt", shown);
  write_file(folder + "/eval.txt", held_out);
}

}  // namespace nabla
