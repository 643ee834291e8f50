#include "launch/truth/table_field.h"
#include "launch/truth/banded_system.h"
#include "launch/truth/transition_rows.h"
#include "tests/testing.h"

using namespace nabla;
using namespace nabla::truth;

namespace {

double largest(const Tensor& difference) { return difference.abs().max().item<double>(); }

// Rows whose minimum is at these values of the field.
Parabolas around(const Tensor& x, const Tensor& values) {
  const Tensor curvature = at::linspace(0.5, 2.0, x.size(0), at::kDouble);
  return {x, -values * curvature.unsqueeze(1), curvature};
}

}  // namespace

TEST_CASE("a banded system is solved as a dense one") {
  constexpr std::int64_t kSize = 12, kBand = 3;
  Tensor dense = at::zeros({kSize, kSize}, at::kDouble);
  BandedSystem system(kSize, kBand);
  for (std::int64_t i = 0; i < kSize; ++i) {
    for (std::int64_t j = std::max<std::int64_t>(0, i - kBand); j <= i; ++j) {
      const double value = i == j ? 5.0 + static_cast<double>(i) : 1.0 / static_cast<double>(1 + i + j);
      system.add(static_cast<std::size_t>(i), static_cast<std::size_t>(j), value);
      dense[i][j] = value;
      dense[j][i] = value;
    }
  }
  const Tensor right = at::linspace(-1.0, 2.0, kSize, at::kDouble);
  system.factor();
  const auto solution = system.solve({right.data_ptr<double>(), right.data_ptr<double>() + kSize});
  CHECK(largest(torch::tensor(solution, at::kDouble) - at::linalg_solve(dense, right)) < 1e-12);
}

TEST_CASE("a table on the line takes a piecewise linear function exactly and leaves nodes alone that nobody saw") {
  TableField field({{.low = -2.0, .high = 2.0, .nodes = 3}, {.low = -2.0, .high = 2.0, .nodes = 5}}, 1);
  const Tensor x = at::linspace(-2.0, 0.0, 21, at::kDouble).unsqueeze(1);
  const Tensor wanted = (x + 1.0).abs();
  field.minimize(1, around(x, wanted));
  CHECK(largest(field.at(1, x) - wanted) < 1e-7);
  CHECK(field.values(1)[4].item<double>() == 0.0);
  CHECK(largest(field.at(0, x)) == 0.0);
}

TEST_CASE("a table in the plane takes a bilinear function exactly and is constant beyond its nodes") {
  TableField field({{.low = -1.0, .high = 1.0, .nodes = 4}}, 2);
  const Tensor axis = at::linspace(-1.0, 1.0, 9, at::kDouble);
  const Tensor x = at::stack({axis.repeat_interleave(9), axis.repeat({9})}, 1);
  const auto function = [](const Tensor& p) {
    const Tensor u = p.select(1, 0), v = p.select(1, 1);
    return at::stack({1.0 + u - 2.0 * u * v, v + 0.5 * u * v}, 1);
  };
  field.minimize(0, around(x, function(x)));
  const Tensor elsewhere = torch::tensor({{0.13, -0.71}, {-0.5, 0.9}, {1.5, -1.25}}, at::kDouble);
  CHECK(largest(field.at(0, elsewhere) - function(elsewhere.clamp(-1.0, 1.0))) < 1e-6);
}

TEST_CASE("a table's Jacobian is that of the linear function it holds, and 0 beyond its nodes") {
  TableField field({{.low = -1.0, .high = 1.0, .nodes = 4}}, 2);
  const Tensor axis = at::linspace(-1.0, 1.0, 9, at::kDouble);
  const Tensor x = at::stack({axis.repeat_interleave(9), axis.repeat({9})}, 1);
  const Tensor matrix = torch::tensor({{1.0, -2.0}, {0.5, 3.0}}, at::kDouble);
  field.minimize(0, around(x, x.matmul(matrix.t())));
  const Tensor jacobian = field.jacobian(0, torch::tensor({{0.1, -0.7}, {2.0, 0.5}}, at::kDouble));
  CHECK(largest(jacobian[0] - matrix) < 1e-6);
  CHECK(largest(jacobian[1].select(1, 0)) == 0.0);
}

TEST_CASE("points of noise give the moments of the normal law") {
  const NoisePoints line = gauss_hermite(5, 1), plane = gauss_hermite(3, 2), even = even_points(0.5), disc = even_disc(1.0);
  const auto moment = [](const NoisePoints& noise, double power) {
    return (noise.weights * noise.points.select(1, 0).pow(power)).sum().item<double>();
  };
  for (const NoisePoints& noise : {line, plane, even}) {
    CHECK(moment(noise, 0) == doctest::Approx(1.0));
    CHECK(moment(noise, 2) == doctest::Approx(1.0));
    CHECK(moment(noise, 4) == doctest::Approx(3.0));
  }
  CHECK(moment(disc, 0) == doctest::Approx(1.0));
  CHECK(moment(disc, 2) == doctest::Approx(1.0));
  CHECK(moment(disc, 4) == doctest::Approx(3.0).epsilon(0.01));
  CHECK(moment(line, 8) == doctest::Approx(105.0));
  CHECK(even.points.size(0) == 25);
  CHECK(even_points(0.3).points.size(0) == 41);
}
