#include "launch/gallery.h"

#include "launch/bitmap_font.h"
#include "launch/picture_grid.h"

#include <fmt/format.h>

#include <algorithm>

namespace nabla {

namespace {

constexpr std::size_t kPictures = 16, kColumns = 8, kCaptionLines = 4;
constexpr int kTile = 128;                       // pixels a side that a picture is enlarged to
constexpr int kGap = 20, kMargin = 24, kTextScale = 2, kTitleScale = 3;
constexpr int kLine = (kFontHeight + 1) * kTextScale;
constexpr Rgb kPaper{255, 255, 255}, kInk{34, 38, 46}, kMuted{98, 106, 120}, kReward{20, 110, 72};

int enlargement(const EvaluationSummary& evaluation) { return std::max(1, kTile / std::max<int>(1, static_cast<int>(evaluation.width))); }

// Where the parts of one half lie.
struct Layout {
  int factor = 1, tile_width = 0, tile_height = 0;
  std::size_t columns = 1, rows = 1;

  int cell_width() const { return tile_width + kGap; }
  int cell_height() const { return tile_height + kLine * static_cast<int>(kCaptionLines + 1) + kGap; }
  int title_height() const { return (kFontHeight + 5) * kTitleScale; }
  int width() const { return 2 * kMargin - kGap + static_cast<int>(columns) * cell_width(); }
  int half_height() const { return title_height() + static_cast<int>(rows) * cell_height(); }
};

Layout layout_of(const EvaluationSummary& evaluation, std::size_t pictures) {
  Layout layout;
  layout.factor = enlargement(evaluation);
  layout.tile_width = static_cast<int>(evaluation.width) * layout.factor;
  layout.tile_height = static_cast<int>(evaluation.height) * layout.factor;
  layout.columns = std::min(kColumns, pictures);
  layout.rows = (pictures + kColumns - 1) / kColumns;
  return layout;
}

RgbImage picture_of(const EvaluationSummary& evaluation, std::size_t picture) {
  return {.width = static_cast<int>(evaluation.width), .height = static_cast<int>(evaluation.height), .pixels = evaluation.images[picture]};
}

void draw_centered(RgbImage& image, int center, int y, const std::string& text, Rgb color) {
  draw_text(image, center - text_width(text, kTextScale) / 2, y, text, kTextScale, color);
}

void draw_half(RgbImage& image, int top, const std::string& title, const EvaluationSummary& evaluation, const std::vector<std::size_t>& pictures,
               const Layout& layout) {
  draw_text(image, kMargin, top, title, kTitleScale, kInk);
  const std::string facts = fmt::format("update {}   reward {:.2f} +- {:.2f} (all {} pictures)", evaluation.update, evaluation.reward_mean,
                                        evaluation.reward_std, evaluation.images.size());
  draw_text(image, kMargin + text_width(title, kTitleScale) + 18, top + 2 * kTitleScale, facts, kTextScale, kMuted);
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const int left = kMargin + static_cast<int>(i % kColumns) * layout.cell_width();
    const int tile_top = top + layout.title_height() + static_cast<int>(i / kColumns) * layout.cell_height();
    draw_picture(image, left, tile_top, picture_of(evaluation, pictures[i]), layout.factor);
    const int center = left + layout.tile_width / 2;
    int y = tile_top + layout.tile_height + kTextScale * 3;
    draw_centered(image, center, y, fmt::format("{:.2f}", evaluation.rewards.at(pictures[i])), kReward);
    for (const auto& line : wrap_text(evaluation.prompts.at(pictures[i]), layout.cell_width() - 10, kTextScale, kCaptionLines)) {
      y += kLine;
      draw_centered(image, center, y, line, kInk);
    }
  }
}

PngText gallery_text(const EvaluationSummary& before, const EvaluationSummary& after, const std::string& run_id) {
  PngText text{{"run id", run_id}};
  std::string prompts;
  for (const std::size_t picture : choose_pictures(before.prompts, kPictures)) {
    prompts += fmt::format("{} | {:.2f}", before.prompts[picture], before.rewards.at(picture));
    if (!after.images.empty()) prompts += fmt::format(" -> {:.2f}", after.rewards.at(picture));
    prompts += "\n";
  }
  text.emplace_back("prompt | reward", prompts);
  return text;
}

// The last evaluation with pictures, if it is not the first one.
EvaluationSummary last_pictures(const RunSummary& summary) {
  const auto& all = summary.evaluation;
  const auto found = std::find_if(all.rbegin(), all.rend(), [&](const auto& entry) { return entry.images.size() == all.front().images.size(); });
  return found == all.rend() || std::next(found) == all.rend() ? EvaluationSummary{} : *found;
}

}  // namespace

std::vector<std::size_t> choose_pictures(const std::vector<std::string>& prompts, std::size_t limit) {
  std::vector<std::size_t> noise(prompts.size(), 0), order(prompts.size());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    if (i > 0 && prompts[i] == prompts[i - 1]) noise[i] = noise[i - 1] + 1;
    order[i] = i;
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return noise[a] < noise[b]; });
  order.resize(std::min(limit, order.size()));
  std::sort(order.begin(), order.end());
  return order;
}

RgbImage draw_gallery(const EvaluationSummary& before, const EvaluationSummary& after) {
  const std::vector<std::size_t> pictures = choose_pictures(before.prompts, kPictures);
  const Layout layout = layout_of(before, pictures.size());
  const int halves = after.images.empty() ? 1 : 2;
  RgbImage image{.width = std::max(layout.width(), 720), .height = 2 * kMargin - kGap + halves * layout.half_height(), .pixels = {}};
  image.pixels.assign(static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3, kPaper.red);
  draw_half(image, kMargin, "before", before, pictures, layout);
  if (halves == 2) draw_half(image, kMargin + layout.half_height(), "after", after, pictures, layout);
  return image;
}

void write_gallery(const std::string& path, const RunSummary& summary) {
  const EvaluationSummary& before = summary.evaluation.front();
  const EvaluationSummary after = last_pictures(summary);
  write_png(path, draw_gallery(before, after), gallery_text(before, after, summary.run_id));
}

}  // namespace nabla
