#include "learner/evaluation_book.h"

#include "learner/picture_statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace nabla {

namespace {

template <class T>
std::vector<T> values_of(const EvaluationResult& result, const TensorEntry& entry) {
  std::vector<T> values(entry.size / sizeof(T));
  std::memcpy(values.data(), result.data.view.data() + entry.offset, values.size() * sizeof(T));
  return values;
}

struct TensorRule {
  const char* name;
  DType dtype;
  std::size_t dimensions;
  bool required;
};
constexpr TensorRule kRules[] = {
    {"reward", DType::kF32, 1, true},        {"true_reward", DType::kF32, 1, false},  {"shape_correct", DType::kU8, 1, false},
    {"color_correct", DType::kU8, 1, false}, {"count_correct", DType::kU8, 1, false}, {"features", DType::kF32, 2, false},
    {"image", DType::kU8, 4, true},
};

std::optional<std::string> check_entry(const EvaluationResult& result, const TensorRule& rule, std::int64_t pictures) {
  const TensorEntry* entry = find_tensor(result.table, rule.name);
  if (entry == nullptr) return rule.required ? std::optional(fmt::format("tensor '{}' is missing", rule.name)) : std::nullopt;
  std::uint64_t bytes = byte_size(rule.dtype);
  bool shaped = entry->dtype == rule.dtype && entry->shape.size() == rule.dimensions && entry->shape.front() == pictures;
  for (const auto size : entry->shape) {
    shaped = shaped && size > 0 && bytes <= result.data.view.size();
    bytes *= static_cast<std::uint64_t>(std::max<std::int64_t>(size, 0));
  }
  const bool inside = entry->offset <= result.data.view.size() && entry->size <= result.data.view.size() - entry->offset;
  if (shaped && inside && entry->size == bytes) return std::nullopt;
  return fmt::format("tensor '{}' has a wrong dtype, shape or place", rule.name);
}

std::optional<std::string> check_result(const Ticket& ticket, const EvaluationResult& result) {
  if (result.version != ticket.version) return fmt::format("version {} was evaluated; the ticket names {}", result.version, ticket.version);
  if (result.pictures.size() != ticket.slots.size())
    return fmt::format("{} pictures came; the ticket names {}", result.pictures.size(), ticket.slots.size());
  for (std::size_t i = 0; i < ticket.slots.size(); ++i) {
    if (result.pictures[i] != ticket.slots[i].slot)
      return fmt::format("picture {} came where the ticket names {}", result.pictures[i], ticket.slots[i].slot);
  }
  for (const auto& rule : kRules) {
    if (auto problem = check_entry(result, rule, static_cast<std::int64_t>(ticket.slots.size()))) return problem;
  }
  const TensorEntry* image = find_tensor(result.table, "image");
  if (image->shape[1] != 3) return fmt::format("the pictures have {} channels; 3 are expected", image->shape[1]);
  for (const float reward : values_of<float>(result, *find_tensor(result.table, "reward"))) {
    if (!std::isfinite(reward)) return "a reward is not finite";
  }
  return std::nullopt;
}

// Chunks of one evaluation must agree on which tensors there are and on the sizes of a picture and of a feature vector.
bool same_layout(const EvaluationResult& a, const EvaluationResult& b) {
  for (const auto& rule : kRules) {
    const TensorEntry *first = find_tensor(a.table, rule.name), *second = find_tensor(b.table, rule.name);
    if ((first == nullptr) != (second == nullptr)) return false;
    if (first != nullptr && !std::equal(first->shape.begin() + 1, first->shape.end(), second->shape.begin() + 1, second->shape.end()))
      return false;
  }
  return true;
}

// One tensor of all chunks in picture order, as doubles; empty if a chunk lacks it.
template <class T>
std::vector<double> gather(const std::map<std::int64_t, EvaluationResult>& chunks, const std::string& name) {
  std::vector<double> all;
  for (const auto& [first, chunk] : chunks) {
    const TensorEntry* entry = find_tensor(chunk.table, name);
    if (entry == nullptr) return {};
    for (const T value : values_of<T>(chunk, *entry)) all.push_back(static_cast<double>(value));
  }
  return all;
}

std::vector<std::vector<float>> gather_features(const std::map<std::int64_t, EvaluationResult>& chunks) {
  std::vector<std::vector<float>> features;
  for (const auto& [first, chunk] : chunks) {
    const TensorEntry* entry = find_tensor(chunk.table, "features");
    if (entry == nullptr) return {};
    const auto values = values_of<float>(chunk, *entry);
    const auto width = static_cast<std::ptrdiff_t>(entry->shape[1]);
    for (std::ptrdiff_t row = 0; row < entry->shape[0]; ++row)
      features.emplace_back(values.begin() + row * width, values.begin() + (row + 1) * width);
  }
  return features;
}

// [N,3,H,W] planes to interleaved RGB a picture.
void gather_images(const std::map<std::int64_t, EvaluationResult>& chunks, EvaluationSummary& summary) {
  for (const auto& [first, chunk] : chunks) {
    const TensorEntry* entry = find_tensor(chunk.table, "image");
    const auto planes = values_of<std::uint8_t>(chunk, *entry);
    summary.height = entry->shape[2];
    summary.width = entry->shape[3];
    const auto pixels = static_cast<std::size_t>(summary.height * summary.width);
    for (std::size_t picture = 0; picture < static_cast<std::size_t>(entry->shape[0]); ++picture) {
      std::vector<std::uint8_t> image(pixels * 3);
      for (std::size_t channel = 0; channel < 3; ++channel) {
        for (std::size_t pixel = 0; pixel < pixels; ++pixel) image[pixel * 3 + channel] = planes[(picture * 3 + channel) * pixels + pixel];
      }
      summary.images.push_back(std::move(image));
    }
  }
}

EvaluationSummary add_up(const std::map<std::int64_t, EvaluationResult>& chunks, std::int64_t noises_per_prompt) {
  EvaluationSummary summary;
  summary.rewards = gather<float>(chunks, "reward");
  const Spread reward = spread_of(summary.rewards);
  summary.reward_mean = reward.mean;
  summary.reward_std = reward.deviation;
  const auto true_rewards = gather<float>(chunks, "true_reward");
  summary.has_true_reward = !true_rewards.empty();
  const Spread true_reward = spread_of(true_rewards);
  summary.true_reward_mean = true_reward.mean;
  summary.true_reward_std = true_reward.deviation;
  const auto features = gather_features(chunks);
  const auto colors = gather<std::uint8_t>(chunks, "color_correct"), shapes = gather<std::uint8_t>(chunks, "shape_correct");
  summary.has_checker = !features.empty() && !colors.empty() && !shapes.empty();
  if (summary.has_checker) {
    summary.diversity = feature_diversity(features, noises_per_prompt);
    summary.color_accuracy = spread_of(colors).mean;
    summary.shape_accuracy = spread_of(shapes).mean;
    summary.count_accuracy = spread_of(gather<std::uint8_t>(chunks, "count_correct")).mean;
    summary.prompt_accuracy = 0.5 * (summary.color_accuracy + summary.shape_accuracy);
  }
  for (const auto& [first, chunk] : chunks) summary.prompts.insert(summary.prompts.end(), chunk.prompts.begin(), chunk.prompts.end());
  gather_images(chunks, summary);
  return summary;
}

}  // namespace

void EvaluationBook::open(std::int64_t update, std::int64_t version, std::int64_t num_pictures, double drift) {
  open_[version] = {.update = update, .num_pictures = num_pictures, .drift = drift, .chunks = {}, .arrived = 0};
}

std::optional<std::string> EvaluationBook::add(const Ticket& ticket, const EvaluationResult& result) {
  if (auto problem = check_result(ticket, result)) return problem;
  const auto found = open_.find(ticket.version);
  if (found == open_.end()) return fmt::format("no evaluation of version {} is open", ticket.version);
  Open& open = found->second;
  if (!open.chunks.empty() && !same_layout(open.chunks.begin()->second, result)) {
    return "its tensors differ from those of the evaluation's other pictures: do all actors have the same rewards and checker?";
  }
  const auto [chunk, fresh] = open.chunks.emplace(ticket.slots.front().slot, result);
  if (!fresh) return std::nullopt;
  // The prompts of the ticket, not those that came back.
  chunk->second.prompts.clear();
  for (const auto& order : ticket.slots) chunk->second.prompts.push_back(order.prompt);
  open.arrived += static_cast<std::int64_t>(ticket.slots.size());
  if (open.arrived < open.num_pictures) return std::nullopt;
  finished_.push_back(add_up(open.chunks, noises_per_prompt_));
  finished_.back().update = open.update;
  finished_.back().drift = open.drift;
  open_.erase(found);
  return std::nullopt;
}

std::vector<std::pair<std::int64_t, double>> EvaluationBook::open_evaluations() const {
  std::vector<std::pair<std::int64_t, double>> evaluations;
  for (const auto& [version, open] : open_) evaluations.emplace_back(open.update, open.drift);
  return evaluations;
}

std::vector<EvaluationSummary> EvaluationBook::take_finished() { return std::exchange(finished_, {}); }

}  // namespace nabla
