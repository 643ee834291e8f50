#include "common/pocket/renderer.h"

#include "common/philox.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace nabla::pocket {

namespace {

using Color = std::array<double, 3>;

constexpr std::array<Color, 8> kPalette{{{.86, .12, .12}, {.13, .66, .20}, {.13, .25, .87}, {.96, .87, .14},
                                         {.97, .50, .08}, {.55, .16, .70}, {.97, .97, .97}, {.50, .50, .50}}};
constexpr int kSubsamples = 4;           // a side of a pixel
constexpr double kLeastContrast = 0.45;  // L2 distance between object and background colours
constexpr int kLayoutTries = 400;
constexpr double kReach = 1.06;  // of the farthest corner, in radii
constexpr double kGap = 1.5;     // least free space between two objects, in pixels

struct Disc {
  double x = 0, y = 0, radius = 0;
};

double between(Philox& random, double low, double high) { return low + (high - low) * random.uniform(); }

// Inside test in coordinates where the object's radius is 1.
bool inside_star(double u, double v) {
  const double turn = 2.0 * std::numbers::pi / 5.0, radius = std::hypot(u, v);
  double angle = std::fmod(std::atan2(u, -v) + 2.0 * std::numbers::pi, turn);
  angle = std::min(angle, turn - angle);
  // The edge runs from the tip (radius 1, angle 0) to the notch (radius 0.42, half a turn).
  const double x = radius * std::cos(angle), y = radius * std::sin(angle);
  const double notch_x = 0.42 * std::cos(turn / 2), notch_y = 0.42 * std::sin(turn / 2);
  return (x - 1.0) * notch_y - y * (notch_x - 1.0) <= 0.0;
}

bool inside(int shape, double u, double v) {
  switch (shape) {
    case 0: return std::hypot(u, v) <= 0.95;
    case 1: return std::max(std::abs(u), std::abs(v)) <= 0.74;
    case 2: return v <= 0.60 && v >= -0.95 + 1.80 * std::abs(u);
    case 3: return inside_star(u, v);
    case 4: return std::hypot(u, v) <= 1.0 && std::hypot(u, v) >= 0.58;
    default: return (std::abs(u) <= 0.30 && std::abs(v) <= 0.95) || (std::abs(v) <= 0.30 && std::abs(u) <= 0.95);
  }
}

double draw_radius(const Scene& scene, Philox& random) {
  if (scene.size == 0) return between(random, 3.6, 4.4);
  if (scene.size == 1) return scene.count == 1 ? between(random, 7.0, 9.0) : between(random, 6.0, 6.8);
  return scene.count == 1 ? between(random, 4.5, 8.0) : between(random, 4.2, 6.2);
}

bool apart(const std::vector<Disc>& discs, const Disc& disc) {
  return std::all_of(discs.begin(), discs.end(), [&](const Disc& other) {
    return std::hypot(disc.x - other.x, disc.y - other.y) >= kReach * (disc.radius + other.radius) + kGap;
  });
}

// Places that do not overlap; the radius shrinks a little when a layout does not come out.
std::vector<Disc> place_objects(const Scene& scene, Philox& random) {
  double radius = draw_radius(scene, random);
  while (true) {
    for (int attempt = 0; attempt < kLayoutTries; ++attempt) {
      std::vector<Disc> discs;
      for (int i = 0; i < scene.count; ++i) {
        const double low = radius + 0.5, high = kImageSize - radius - 0.5;
        const Disc disc{between(random, low, high), between(random, low, high), radius};
        if (apart(discs, disc)) discs.push_back(disc);
      }
      if (static_cast<int>(discs.size()) == scene.count) return discs;
    }
    radius *= 0.95;
  }
}

double distance(const Color& a, const Color& b) { return std::hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]); }

// Dark and light, grey and colourful grounds alike.
Color random_color(Philox& random) {
  const double brightness = between(random, 0.03, 1.0), saturation = random.uniform();
  Color color{};
  for (auto& channel : color) channel = brightness * (1.0 - saturation * random.uniform());
  return color;
}

// Two ends of a gradient, both far enough from the object's colour.
std::array<Color, 2> background_colors(const Color& object, Philox& random) {
  while (true) {
    const Color first = random_color(random);
    Color second = first;
    for (auto& channel : second) channel = std::clamp(channel + between(random, -0.2, 0.2), 0.0, 1.0);
    if (distance(first, object) >= kLeastContrast && distance(second, object) >= kLeastContrast) return {first, second};
  }
}

Color object_color(int color, Philox& random) {
  Color tinted = kPalette[static_cast<std::size_t>(color)];
  for (auto& channel : tinted) channel = std::clamp(channel + between(random, -0.05, 0.05), 0.0, 1.0);
  return tinted;
}

// The object whose surroundings hold the pixel; objects lie so far apart that there is at most one.
const Disc* disc_near(const std::vector<Disc>& discs, int x, int y) {
  for (const auto& disc : discs) {
    if (std::hypot(x + 0.5 - disc.x, y + 0.5 - disc.y) <= kReach * disc.radius + 0.75) return &disc;
  }
  return nullptr;
}

// The share of a pixel that an object covers.
double coverage(const Scene& scene, const std::vector<Disc>& discs, int x, int y) {
  const Disc* disc = disc_near(discs, x, y);
  if (disc == nullptr) return 0.0;
  int hits = 0;
  for (int sub = 0; sub < kSubsamples * kSubsamples; ++sub) {
    const double px = x + (sub % kSubsamples + 0.5) / kSubsamples, py = y + (sub / kSubsamples + 0.5) / kSubsamples;
    hits += inside(scene.shape, (px - disc->x) / disc->radius, (py - disc->y) / disc->radius) ? 1 : 0;
  }
  return static_cast<double>(hits) / (kSubsamples * kSubsamples);
}

}  // namespace

std::vector<float> render(const Scene& scene, std::uint64_t seed, std::uint64_t index) {
  Philox random(seed, RandomPurpose::kRender, index);
  const Color object = object_color(scene.color, random);
  const std::array<Color, 2> ground = background_colors(object, random);
  const double angle = between(random, 0.0, 2.0 * std::numbers::pi);
  const std::vector<Disc> discs = place_objects(scene, random);
  std::vector<float> image(3 * kImageSize * kImageSize);
  for (int y = 0; y < kImageSize; ++y) {
    for (int x = 0; x < kImageSize; ++x) {
      const double along = ((x + 0.5) / kImageSize - 0.5) * std::cos(angle) + ((y + 0.5) / kImageSize - 0.5) * std::sin(angle);
      const double share = std::clamp(along + 0.5, 0.0, 1.0), covered = coverage(scene, discs, x, y);
      for (std::size_t c = 0; c < 3; ++c) {
        const double behind = ground[0][c] + share * (ground[1][c] - ground[0][c]);
        image[(c * kImageSize + static_cast<std::size_t>(y)) * kImageSize + static_cast<std::size_t>(x)] =
            static_cast<float>(behind + covered * (object[c] - behind));
      }
    }
  }
  return image;
}

}  // namespace nabla::pocket
