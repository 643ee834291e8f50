#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nabla::pocket {

inline constexpr int kImageSize = 32;
inline constexpr std::array<std::string_view, 6> kShapes{"circle", "square", "triangle", "star", "ring", "cross"};
inline constexpr std::array<std::string_view, 8> kColors{"red", "green", "blue", "yellow", "orange", "purple", "white", "gray"};
inline constexpr std::array<std::string_view, 2> kSizes{"small", "large"};
inline constexpr int kMaxCount = 3;

// What a picture shows: `count` objects of one shape, colour and size on a random background that the caption does not name.
struct Scene {
  int shape = 0, color = 0, count = 1;
  int size = -1;  // index into kSizes, or -1: not named in the caption
};

// "a large red star", "two blue rings", "three small green crosses": count, colour and shape are always named.
std::string caption_of(const Scene& scene);
// The scene a caption names; nothing if it is no caption of ours.
std::optional<Scene> parse_caption(std::string_view caption);
// All words that captions use (the tokenizer's vocabulary).
std::vector<std::string> caption_words();
// Any scene, a pure function of (seed, index): shape, colour and count uniform, half of the captions name a size.
Scene random_scene(std::uint64_t seed, std::uint64_t index);

// One in six captions is never shown to the diffusion model in training; each shape, colour, count and size is equally often among them, and
// every pair of shape and colour also has captions that are shown.
bool is_held_out(const Scene& scene);
// The same as random_scene, restricted to captions that are shown in training, or to those that are not.
Scene training_scene(std::uint64_t seed, std::uint64_t index);
Scene held_out_scene(std::uint64_t seed, std::uint64_t index);

}  // namespace nabla::pocket
