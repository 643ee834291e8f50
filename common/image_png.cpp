#include "common/image_png.h"

#include "common/error.h"
#include "common/files.h"

#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>

namespace nabla {

namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{1} << 30;
constexpr png_uint_32 kMaxSide = 16384;

// Everything that libpng's callbacks reach. libpng reports errors by longjmp, so it lives outside the frame that is jumped over.
struct PngJob {
  std::string bytes;
  std::string error;
  std::vector<png_bytep> rows;
  std::vector<png_text> text;
};

void append_png_bytes(png_structp png, png_bytep data, png_size_t size) {
  static_cast<PngJob*>(png_get_io_ptr(png))->bytes.append(reinterpret_cast<const char*>(data), size);
}

void flush_png_bytes(png_structp) {}

void fail_png_job(png_structp png, png_const_charp message) {
  static_cast<PngJob*>(png_get_error_ptr(png))->error = message;
  png_longjmp(png, 1);
}

void ignore_png_warning(png_structp, png_const_charp) {}

// Nothing with a destructor may stand here: an error jumps back to setjmp. True if all went well.
bool run_png_writer(png_structp png, png_infop info, PngJob* job, png_uint_32 width, png_uint_32 height) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_write_fn(png, job, append_png_bytes, flush_png_bytes);
  png_set_IHDR(png, info, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!job->text.empty()) png_set_text(png, info, job->text.data(), static_cast<int>(job->text.size()));
  png_write_info(png, info);
  png_write_image(png, job->rows.data());
  png_write_end(png, info);
  return true;
}

bool is_plain_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= 0x20 && c < 0x7F) || c == '\n'; });
}

png_text make_png_text(const std::string& key, const std::string& value) {
  png_text entry{};
  entry.compression = is_plain_ascii(value) ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
  entry.key = const_cast<char*>(key.c_str());  // libpng copies both
  entry.text = const_cast<char*>(value.c_str());
  entry.text_length = value.size();
  return entry;
}

void check_png_input(const RgbImage& image, const PngText& text) {
  const bool fits = image.width > 0 && image.height > 0 && image.pixels.size() == std::size_t{3} * image.width * image.height;
  if (!fits) throw failure("[png] {} bytes of pixels are not a picture of {}x{} RGB", image.pixels.size(), image.width, image.height);
  for (const auto& [key, value] : text) {
    if (key.empty() || key.size() > 79 || !is_plain_ascii(key))
      throw failure("[png] '{}' is no text key: 1 to 79 ASCII characters are", key);
  }
}

}  // namespace

std::string encode_png(const RgbImage& image, const PngText& text) {
  check_png_input(image, text);
  PngJob job;
  for (int y = 0; y < image.height; ++y) job.rows.push_back(const_cast<png_bytep>(image.pixels.data()) + std::size_t{3} * image.width * y);
  for (const auto& [key, value] : text) job.text.push_back(make_png_text(key, value));
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &job, fail_png_job, ignore_png_warning);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  const bool written = info && run_png_writer(png, info, &job, image.width, image.height);
  png_destroy_write_struct(&png, &info);
  if (!written) throw failure("[png] libpng refused the picture: {}", job.error.empty() ? "no memory" : job.error);
  return std::move(job.bytes);
}

void write_png(const std::string& path, const RgbImage& image, const PngText& text) { write_file(path, encode_png(image, text)); }

RgbImage decode_png(std::string_view bytes, const std::string& source) {
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  const auto refuse = [&](const char* reason) {
    const Error error = data_error("[png] {} cannot be read: {}", source, reason);
    png_image_free(&header);
    return error;
  };
  if (!png_image_begin_read_from_memory(&header, bytes.data(), bytes.size())) throw refuse(header.message);
  if (header.width > kMaxSide || header.height > kMaxSide) throw refuse("it has more than 16384 pixels a side");
  header.format = PNG_FORMAT_RGB;
  RgbImage image{static_cast<int>(header.width), static_cast<int>(header.height), std::vector<std::uint8_t>(PNG_IMAGE_SIZE(header))};
  const png_color black{0, 0, 0};
  if (!png_image_finish_read(&header, &black, image.pixels.data(), 0, nullptr)) throw refuse(header.message);
  return image;
}

RgbImage read_png(const std::string& path) { return decode_png(read_file(path, kMaxFileBytes), "'" + path + "'"); }

}  // namespace nabla
