#include "launch/gallery.h"

#include "tests/common/temporary_folder.h"
#include "tests/launch/synthetic_run.h"
#include "tests/testing.h"

#include <filesystem>
#include <set>

using namespace nabla;

namespace {

// How many pictures of synthetic_evaluation(update) a gallery shows: each has a colour of its own.
std::size_t pictures_shown(const RgbImage& image, std::int64_t update) {
  std::set<std::uint8_t> seen;
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    if (image.pixels[i + 1] == 100 && image.pixels[i + 2] == update) seen.insert(image.pixels[i]);
  }
  return seen.size();
}

// Pixels of one colour of a picture's inside.
std::size_t area_of(const RgbImage& image, std::uint8_t picture, std::int64_t update) {
  std::size_t area = 0;
  for (std::size_t i = 0; i < image.pixels.size(); i += 3)
    area += image.pixels[i] == picture && image.pixels[i + 1] == 100 && image.pixels[i + 2] == update;
  return area;
}

}  // namespace

TEST_CASE("a gallery takes a noise of every prompt before a second noise of any") {
  const std::vector<std::string> prompts{"a", "a", "a", "b", "b", "b", "c", "c", "c"};
  CHECK(choose_pictures(prompts, 3) == std::vector<std::size_t>{0, 3, 6});
  CHECK(choose_pictures(prompts, 4) == std::vector<std::size_t>{0, 1, 3, 6});
  CHECK(choose_pictures(prompts, 2) == std::vector<std::size_t>{0, 3});
  CHECK(choose_pictures(prompts, 100).size() == 9);
  CHECK(choose_pictures({}, 4).empty());
}

TEST_CASE("a gallery shows the same pictures before and after, enlarged") {
  const RgbImage image = draw_gallery(synthetic_evaluation(0), synthetic_evaluation(20));
  CHECK(image.pixels.size() == static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
  CHECK(pictures_shown(image, 0) == 8);
  CHECK(pictures_shown(image, 20) == 8);
  CHECK(area_of(image, 3, 20) == 30 * 30 * 4 * 4);  // 32 pixels a side become 128
}

TEST_CASE("a gallery is as high as it has halves and as wide as it has pictures") {
  const RgbImage both = draw_gallery(synthetic_evaluation(0), synthetic_evaluation(20));
  const RgbImage before = draw_gallery(synthetic_evaluation(0), {});
  const RgbImage few = draw_gallery(synthetic_evaluation(0, 1, 1), {}), large = draw_gallery(synthetic_evaluation(0, 2, 1, 256), {});
  CHECK(before.width == both.width);
  CHECK(before.height < both.height);
  CHECK(pictures_shown(before, 0) == 8);
  CHECK(few.width < before.width);
  CHECK(large.height > few.height);
  CHECK(area_of(large, 1, 0) == 254 * 254);
}

TEST_CASE("a gallery of many pictures stays bounded") {
  const RgbImage image = draw_gallery(synthetic_evaluation(0, 40, 2), synthetic_evaluation(20, 40, 2));
  CHECK(pictures_shown(image, 0) == 16);
  CHECK(image.width < 1300);
  CHECK(image.height < 1300);
}

TEST_CASE("a written gallery compares the first with the last evaluation") {
  const TemporaryFolder folder;
  RunSummary summary = synthetic_summary();
  write_gallery(folder.file("gallery.png"), summary);
  const RgbImage image = read_png(folder.file("gallery.png"));
  CHECK(pictures_shown(image, 0) == 8);
  CHECK(pictures_shown(image, 10) == 0);
  CHECK(pictures_shown(image, 20) == 8);
}

TEST_CASE("an evaluation whose pictures are missing is passed over") {
  const TemporaryFolder folder;
  RunSummary summary = synthetic_summary();
  summary.evaluation.back().images.clear();
  write_gallery(folder.file("gallery.png"), summary);
  CHECK(pictures_shown(read_png(folder.file("gallery.png")), 10) == 8);
}

TEST_CASE("a run that was evaluated once shows one half") {
  const TemporaryFolder folder;
  RunSummary summary = synthetic_summary();
  summary.evaluation.resize(1);
  write_gallery(folder.file("gallery.png"), summary);
  const RgbImage image = read_png(folder.file("gallery.png"));
  CHECK(image.height == draw_gallery(synthetic_evaluation(0), {}).height);
}
