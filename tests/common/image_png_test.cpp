#include "common/image_png.h"
#include "common/files.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"

namespace nabla {

namespace {

RgbImage gradient_image(int width, int height) {
  RgbImage image{width, height, {}};
  for (int i = 0; i < 3 * width * height; ++i) image.pixels.push_back(static_cast<std::uint8_t>(37 * i));
  return image;
}

}  // namespace

TEST_CASE("a picture survives the way through a PNG file, its texts inside") {
  TemporaryFolder folder;
  const RgbImage image = gradient_image(7, 5);
  write_png(folder.file("a.png"), image, {{"prompt", "a red star"}, {"seed", "3"}, {"title", "étoile"}});
  const RgbImage back = read_png(folder.file("a.png"));
  CHECK(back.width == 7);
  CHECK(back.height == 5);
  CHECK(back.pixels == image.pixels);
  const std::string bytes = read_file(folder.file("a.png"), 10'000);
  CHECK(bytes.find(std::string("tEXtprompt\0a red star", 21)) != std::string::npos);
  CHECK(bytes.find(std::string("tEXtseed\0003", 10)) != std::string::npos);
  CHECK(bytes.find("iTXttitle") != std::string::npos);
}

TEST_CASE("equal pictures are equal bytes") { CHECK(encode_png(gradient_image(4, 4)) == encode_png(gradient_image(4, 4))); }

TEST_CASE("pixels that do not fit the size and bad text keys are refused") {
  RgbImage image = gradient_image(4, 4);
  check_error(
      ExitCode::kFailure,
      [&] {
        encode_png(image, {{"", "x"}});
      },
      "text key");
  image.pixels.pop_back();
  check_error(
      ExitCode::kFailure, [&] { encode_png(image); }, "4x4");
}

TEST_CASE("a damaged PNG is a data error that names its source") {
  const std::string bytes = encode_png(gradient_image(16, 16));
  check_error(
      ExitCode::kData, [&] { decode_png(bytes.substr(0, bytes.size() / 2), "cut.png"); }, "cut.png");
  check_error(
      ExitCode::kData, [&] { decode_png("no picture at all", "text.png"); }, "text.png");
  check_error(
      ExitCode::kData, [&] { decode_png("", "empty.png"); }, "empty.png");
}

}  // namespace nabla
